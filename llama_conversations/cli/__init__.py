"""The command ``stack``. Everything heavy is imported when a command needs it, so that ``--help`` is quick."""
