"""How the tests say what became of a call."""

from botocore.exceptions import ClientError


def outcome(call, *args, **kwargs) -> str:
    """ "ok", or the error code that the SDK read."""
    try:
        call(*args, **kwargs)
        return "ok"
    except ClientError as error:
        return error.response["Error"]["Code"]


def failure(call, *args, **kwargs) -> tuple:
    """(HTTP status, code, message) of a call that must fail."""
    try:
        call(*args, **kwargs)
    except ClientError as error:
        found = error.response
        return found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"], found["Error"].get("Message", "")
    raise AssertionError("the call was not refused")
