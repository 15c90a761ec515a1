"""The `microblog` command: `main` is the program, `context` runs the features' own commands."""


def main() -> None:
    """Run the program for scripts installed before it moved to `app.cli.main`; goes with the rebuild."""
    from app.cli.main import main as run

    run()
