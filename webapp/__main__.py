"""`tuneroom` and `python -m webapp`: runs the command line; an expected error is a sentence and exit code 1."""

import sys

from models.domain.errors import AppError


def main() -> None:
    from webapp.cli import app

    try:
        app()
    except AppError as error:
        print(error.message, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
