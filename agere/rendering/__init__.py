"""Trees, commanders and Futures as text, HTML and rich renderables. Loaded only when something is to be shown."""
