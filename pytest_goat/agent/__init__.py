"""How a command is made from a task, and an outcome read from what it left."""
