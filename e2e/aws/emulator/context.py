"""The request context: condition keys with their values, and which keys this emulator knows at all.

A key that is known and has no value is *absent*, as on AWS. A key that is not known makes the condition
undecidable: a Deny then applies and an Allow does not. Filled by `access.py` and the modules of `calls/`.
"""

from typing import Iterable, Mapping, Optional

# Keys that the emulator fills in, or knows to be absent here (no VPC, no organization, no calling service).
_GLOBAL = {
    "aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:currenttime", "aws:epochtime",
    "aws:federatedprovider", "aws:multifactorauthage", "aws:multifactorauthpresent", "aws:principalaccount",
    "aws:principalarn", "aws:principalisawsservice", "aws:principalorgid", "aws:principalorgpaths",
    "aws:principalservicename", "aws:principalservicenameslist", "aws:principaltype", "aws:referer",
    "aws:requestedregion", "aws:resourceaccount", "aws:resourceorgid", "aws:resourceorgpaths",
    "aws:securetransport", "aws:sourceaccount", "aws:sourcearn", "aws:sourceidentity", "aws:sourceip",
    "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpce", "aws:tagkeys",
    "aws:tokenissuetime", "aws:useragent", "aws:userid", "aws:username", "aws:viaawsservice", "aws:vpcsourceip",
}  # fmt: skip
_SERVICE = {
    "dynamodb:attributes", "dynamodb:enclosingoperation", "dynamodb:fulltablescan", "dynamodb:leadingkeys",
    "dynamodb:returnconsumedcapacity", "dynamodb:returnvalues", "dynamodb:select",
    "iam:awsservicename", "iam:passedtoservice", "iam:permissionsboundary", "iam:policyarn",
    "kms:calleraccount", "kms:encryptioncontextkeys", "kms:grantisforawsresource", "kms:keyorigin", "kms:keyspec",
    "kms:keyusage", "kms:requestalias", "kms:resourcealiases", "kms:viaservice",
    "route53:changeresourcerecordsetsactions", "route53:changeresourcerecordsetsnormalizedrecordnames",
    "route53:changeresourcerecordsetsrecordtypes",
    "s3:authtype", "s3:delimiter", "s3:if-match", "s3:if-none-match", "s3:locationconstraint", "s3:max-keys",
    "s3:object-lock-legal-hold", "s3:object-lock-mode", "s3:object-lock-retain-until-date", "s3:prefix",
    "s3:requestobjecttagkeys", "s3:resourceaccount", "s3:signatureage", "s3:signatureversion", "s3:tlsversion",
    "s3:versionid", "s3:x-amz-acl", "s3:x-amz-content-sha256", "s3:x-amz-copy-source", "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read", "s3:x-amz-grant-read-acp", "s3:x-amz-grant-write", "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive", "s3:x-amz-object-ownership", "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "sts:externalid", "sts:rolesessionname", "sts:sourceidentity", "sts:transitivetagkeys",
}  # fmt: skip
_FAMILIES = (
    "aws:principaltag/", "aws:requesttag/", "aws:resourcetag/", "iam:resourcetag/", "kms:encryptioncontext:",
    "s3:existingobjecttag/", "s3:requestobjecttag/",
)  # fmt: skip


class Context:
    """Condition keys, without regard to case, each with the values of this request."""

    __slots__ = ("_values", "_unknown", "_known")

    def __init__(self, values: Mapping[str, object], unknown: Iterable[str] = (), known: Iterable[str] = ()):
        """`unknown`: keys, or families ending in `/`, that cannot be told for this request.
        `known`: further keys that exist in this request's world (an identity provider's `…:sub`)."""
        self._values = {key.lower(): _tuple(value) for key, value in values.items() if value is not None}
        self._unknown = tuple(key.lower() for key in unknown)
        self._known = frozenset(key.lower() for key in known)

    def get(self, key: str) -> Optional[tuple]:
        return self._values.get(key.lower())

    def is_known(self, key: str) -> bool:
        key = key.lower()
        if any(key == name or (name.endswith("/") and key.startswith(name)) for name in self._unknown):
            return False
        return (
            key in self._values
            or key in _GLOBAL
            or key in _SERVICE
            or key in self._known
            or any(key.startswith(family) and len(key) > len(family) for family in _FAMILIES)
        )

    def with_more(self, values: Mapping[str, object], unknown: Iterable[str] = ()) -> "Context":
        """This context and the keys of one need of the same request."""
        more = Context(values, unknown)
        more._values = {**self._values, **more._values}
        more._unknown = self._unknown + more._unknown
        more._known = self._known
        return more


def _tuple(value: object) -> tuple:
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(str(item) for item in value)
    return (str(value),)
