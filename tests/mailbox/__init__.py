# ruff: noqa: A005 -- named for the room it tests
