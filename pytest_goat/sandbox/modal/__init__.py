"""Sandboxes on Modal: one for each trial, made from an image that has the agent's program in a layer.

    the harness    backend -> sandbox      one create, one exec for each command, one terminate
    the sandbox    `inside`                puts files, runs the command as a user without rights, takes files

What is put is kept back and sent with the next command; what is taken after a command came with its reply.
`ledger` knows every sandbox that lives and ends it, whatever happens.
"""
