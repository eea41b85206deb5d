"""One permission that a call needs, and the policy that stands on its resource."""

from dataclasses import dataclass, field

from ..decision import Guard


@dataclass(frozen=True)
class Need:
    action: str
    resource: str
    # Condition keys of this need alone.
    keys: dict = field(default_factory=dict)
    # Keys that AWS would fill in and this emulator cannot: conditions on them are undecidable.
    unknown: tuple = ()
    guard: Guard = Guard()
    # Part of a call that fails alone: one key of DeleteObjects.
    part: object = None


def request_tags(tags: list, key: str = "Key", value: str = "Value") -> dict:
    """aws:RequestTag/… and aws:TagKeys from a list of tags in a request."""
    if not tags:
        return {}
    keys: dict = {f"aws:RequestTag/{tag.get(key, '')}": tag.get(value, "") for tag in tags}
    keys["aws:TagKeys"] = [tag.get(key, "") for tag in tags]
    return keys


def resource_tags(tags: dict) -> dict:
    """aws:ResourceTag/… from the tags that a resource carries."""
    return {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
