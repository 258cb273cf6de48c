"""What to do about each cause, in one line."""

from __future__ import annotations

from pytest_goat.errors import Cause

ADVICE = {
    Cause.CHECKS_FAILED: "The work is wrong: the checks above say what was expected and what was seen.",
    Cause.TIMEOUT: "The agent's time ran out: raise `timeout` in the prompt file if it needs more.",
    Cause.TURN_LIMIT: "The agent's turns ran out: raise `max_turns` in the prompt file if it needs more.",
    Cause.LENGTH_CUT: "The model's answer was cut at its length: raise the model's output limit.",
    Cause.CONTEXT_OVERFLOW: "The conversation outgrew the model: give it less to read, or a larger model.",
    Cause.REFUSAL: "The model refused: look at the answer, and reword the prompt if it was misread.",
    Cause.MALFORMED_CALL: "The model is weak at calling tools: give it fewer of them, or try another model.",
    Cause.BUDGET: "The trial spent all that it may: raise --goat-max-trial-cost if the task needs more.",
    Cause.FORBIDDEN: "A trial may call its own model alone, at the address and with the key it is given.",
    Cause.AGENT_CRASHED: "The agent ended by itself with an error: its stderr says why.",
    Cause.NO_ANSWER: "The agent ended without a final text: look at its trajectory.",
    Cause.UNREACHABLE: "The model's address did not answer: check --goat-api-url and the network.",
    Cause.AUTH: "The provider did not take the key: check the key in the environment and what it may use.",
    Cause.MODEL_NOT_FOUND: "The provider does not know the model: check the spelling of --goat-model.",
    Cause.RATE_LIMITED: "The provider's rate limit: lower --goat-parallel or -n, or ask for a higher limit.",
    Cause.PROVIDER_ERROR: "The provider failed: look at its status page and try again later.",
    Cause.STREAM_CUT: "An answer broke off on its way: try again; if it lasts, look at proxies in between.",
    Cause.MODEL_TIMEOUT: "The model sent nothing for too long: try again, or give it a longer model timeout.",
    Cause.BAD_REQUEST: "The provider refused the request: the message says why; does the model take tools?",
    Cause.REPLAY_MISS: "No recorded turn answers this request: record it, or use a real --goat-model.",
    Cause.SANDBOX_LOST: "The sandbox went away: try again; `goat doctor` looks at the backend.",
    Cause.SANDBOX_LIMIT: "The sandbox was small: raise the task's `memory_mb`, `processes` or `disk_mb`.",
    Cause.CHECK_ERROR: "A check could not be run: mend it in the prompt file; the message says what broke.",
    Cause.SETUP: "What the trial needs is missing, wrong or refused: the message says what mends it.",
    Cause.INTERNAL: "A fault of pytest-goat: please report it with the trial's record.",
}
