"""goat-eval: the agent. A loop between an OpenAI-compatible model and six tools, for use in a sandbox.

Self-contained: the standard library alone, Python 3.9 or later, nothing from the rest of pytest-goat, so that
it can be built into one file (`pytest_goat.agent.bundle`) and run in any Linux image. Start-up counts: a
module is imported when the run first needs it.

Given by flags (as Go's flag package reads them): -prompt, -cwd, -max-turns, -skills-dir, -mcp-config,
-multi-turn. Given by environment:

OPENAI_BASE_URL, OPENAI_API_KEY, EVAL_MODEL    the model's endpoint, key and name
GOAT_PROMPT_FILE       a file with the prompt, where neither argv nor stdin will do
GOAT_RESULT_FILE       where the result is written at the end, also after SIGTERM (see `record`)
GOAT_TRAJECTORY_FILE   where every event is written as it happens (see `record`)
GOAT_STRICT_EXIT       1: the exit code tells how the run ended (see `__main__`)
GOAT_DEADLINE_S        seconds after which the run is ended
GOAT_RUN_ID            sent with every request as the header X-Goat-Run-Id
GOAT_IDLE_S            seconds without a byte from the model after which an attempt is given up (180)
GOAT_BACKOFF_S         seconds before the first retry, doubled for each further one (1)

stdout is the text of the model's last message and nothing else. stderr says what was loaded and what failed.
"""

NAME = "goat-eval"
VERSION = "1.0"
