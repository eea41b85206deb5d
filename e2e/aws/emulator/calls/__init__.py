"""What each call needs: the IAM actions, the resources they touch and the condition keys that come with them.

One module per service, each with `needs(call) -> list[Need]`. Source: AWS service authorization reference.
"""

from typing import Callable

from ..call import Call
from . import dynamodb, iam, kms, route53, s3, ssm, sts
from .need import Need

_MODULES: dict = {
    "dynamodb": dynamodb.needs,
    "dynamodbstreams": dynamodb.stream_needs,
    "s3": s3.needs,
    "iam": iam.needs,
    "sts": sts.needs,
    "kms": kms.needs,
    "route53": route53.needs,
    "ssm": ssm.needs,
}


def needs(call: Call) -> list:
    """Every permission the call needs; all of them must be allowed. Empty: none is needed."""
    module: Callable[[Call], list[Need]] = _MODULES[call.service]
    return module(call)
