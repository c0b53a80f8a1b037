"""What goes wrong in a turn: in one clear line, and never with the key in it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from .wording import IN_PYTHON, Wording

if TYPE_CHECKING:
    from .model import ChatModel

LONGEST = 300  # characters of a line

_HTTP = ("httpx", "httpx2")
"""Of the client, whose errors come as they are while an answer is read."""


def explain(error: BaseException, model: ChatModel, wording: Wording = IN_PYTHON) -> str:
    """Any thread. What went wrong and what to do, in one line, without the key.

    Args:
        error: what a turn failed with.
        model: the model that was asked.
        wording: how to name what can be done about it.
    """
    while isinstance(error, BaseExceptionGroup):  # a stream that fails reaches both who read it
        error = error.exceptions[0]
    text = _meaning(error, model, wording)
    if text is None:
        text = str(error) if type(error).__module__.startswith("agere.") else f"{type(error).__name__}: {error}"
    return _one_line(model.redact(text))


def clean(error: BaseException, model: ChatModel) -> None:
    """Any thread. Blot the key out of an error, and of those it came from; and note in plain words what it means.

    The note names the server, which the errors themselves do not.

    The error stays what it is, so that a program can catch it by its class.

    Args:
        error: what a request failed with.
        model: the model that was asked.
    """
    for one in _chain(error):
        one.args = tuple(_redacted(argument, model) for argument in one.args)
        for name in ("message", "body", "doc"):  # of the openai package, and of json
            if name in getattr(one, "__dict__", {}):
                setattr(one, name, _redacted(getattr(one, name), model))
    meaning = _meaning(error, model, IN_PYTHON)
    if meaning is not None:
        error.add_note(_one_line(model.redact(meaning)))


def _meaning(error: BaseException, model: ChatModel, wording: Wording) -> str | None:
    """What an error of the server, or of the way to it, means; None for others, which speak for themselves."""
    server = f"the server at {model.address}"
    text = None
    openai: Any = sys.modules.get("openai")
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        text = f"{server} sent what is no JSON: {error}"
    elif openai is None:  # then none of its errors can be here
        pass
    elif isinstance(error, openai.AuthenticationError):
        text = f"{server} refused the key (401): check {model.key}"
    elif isinstance(error, openai.NotFoundError):
        text = f"{server} knows no such address or no model {model.name!r} (404): see {wording.model}"
    elif isinstance(error, openai.APITimeoutError):
        text = f"{server} did not answer in time"
    elif _was_cut_off(error):
        text = f"the answer of {server} was cut off: {_reason(error)}"
    elif isinstance(error, openai.APIConnectionError):
        text = f"cannot reach {server}: {_reason(error)}"
    elif isinstance(error, openai.APIStatusError):
        text = f"{server} answered {error.status_code}: {_server_message(error)}"
    elif isinstance(error, openai.APIError):
        text = f"{server} broke off: {error.message}"
    elif type(error).__module__.partition(".")[0] in _HTTP:
        text = f"the answer of {server} broke off: {type(error).__name__}: {error}"
    return text


def _redacted(value: Any, model: ChatModel) -> Any:
    if isinstance(value, str):
        return model.redact(value)
    if isinstance(value, bytes):
        return model.redact(value.decode("latin-1")).encode("latin-1", "replace")
    if isinstance(value, dict | list):
        try:
            text = json.dumps(value)
            cleaned = model.redact(text)
            return value if cleaned == text else json.loads(cleaned)
        except (TypeError, ValueError, RecursionError):
            return value
    return value


def _was_cut_off(error: BaseException) -> bool:
    # By name: these are the classes of httpx or httpx2, as it happens, with or without the client's own around them.
    return any(type(one).__name__ in ("RemoteProtocolError", "ReadError") for one in _chain(error))


def _reason(error: BaseException) -> str:
    reason = _chain(error)[-1]
    return str(reason) or type(reason).__name__


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) is not None and deeper not in chain:
        chain.append(deeper)
    return chain


def _server_message(error: object) -> str:
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or getattr(error, "message", "") or "(no reason given)")


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
