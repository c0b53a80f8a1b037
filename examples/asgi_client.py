"""A client of ``asgi_app.py``: prints the answer as it arrives. Ctrl-C hangs up, and the server stops its job.

Run it:  python examples/asgi_client.py [--port PORT] QUESTION ...
"""

import argparse
import sys

try:
    import httpx2 as httpx  # it comes with the openai client; older ones bring httpx
except ImportError:
    import httpx  # type: ignore[import-not-found, no-redef]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("question", nargs="+")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    url = f"http://127.0.0.1:{arguments.port}/answer"
    with httpx.stream(
        "GET", url, params={"question": " ".join(arguments.question)}, timeout=None, trust_env=False
    ) as response:
        for text in response.iter_text():
            print(text, end="", flush=True)
        return 0 if response.is_success else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except httpx.TransportError as error:
        sys.exit(f"no answer: {error}; is asgi_app.py running?")
