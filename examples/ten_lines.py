import agere


def weather(location: str) -> str:
    """Current weather in a city."""
    return "22 C, clear"


chat = agere.Chat(tools=[weather])
for text in agere.stream(chat.turn("What is it like in Paris?")):
    print(text, end="", flush=True)
