"""`python -m pacsai` is the command `pacsai`."""

from pacsai.cli import main

main()
