"""A shot to try Rotomem on, rendered by the project: plate, exact truth, and an artist's roto."""

from rotomem.demo.contact_sheet import ContactRow, write_contact_sheet
from rotomem.demo.shot import DemoShot, render_demo_shot

__all__ = ["ContactRow", "DemoShot", "render_demo_shot", "write_contact_sheet"]
