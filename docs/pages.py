"""Write the pages of this folder that are made from the tables in the code: python docs/pages.py."""

from pathlib import Path

from basrelief.listing import augment_page, losses_page, metrics_page

PAGES = {"augment.md": augment_page, "losses.md": losses_page, "metrics.md": metrics_page}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page())


if __name__ == "__main__":
    main()
