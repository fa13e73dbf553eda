"""Declarations of the commands: options, help and the call. What a command does is imported when it is called."""
