"""Things that Agere brings along but does not need: a small real model, and a tool to try it with."""
