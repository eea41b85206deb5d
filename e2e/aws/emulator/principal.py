"""Who calls: the account root, a user, a role session, a token of an identity provider, or nobody.

A value without behaviour towards services. `identity.py` makes it from credentials.
"""

from dataclasses import dataclass, field
from typing import Optional

ACCOUNT = "123456789012"
ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"


@dataclass(frozen=True)
class Principal:
    # None for an unsigned call.
    arn: Optional[str]
    user_id: str = ""
    account: str = ACCOUNT
    user_name: Optional[str] = None
    # Set for a role session: the role behind it.
    role_arn: Optional[str] = None
    role_name: Optional[str] = None
    # Set for AssumeRoleWithWebIdentity: the ARN of the identity provider that signed the token.
    federated: Optional[str] = None
    is_root: bool = False
    # Tags of the user, or of the role with those of the session over them.
    tags: dict = field(default_factory=dict)
    # Further condition keys of the session: token issue time, source identity, claims of a token.
    keys: dict = field(default_factory=dict)

    @property
    def account_root(self) -> str:
        return f"arn:aws:iam::{self.account}:root"

    @property
    def identities(self) -> tuple:
        """Every name by which a NotPrincipal must list the caller to exempt it."""
        if self.arn is None:
            return ("",) if self.federated is None else (self.federated,)
        names = (self.arn, self.role_arn, self.account_root)
        return tuple(name for name in names if name)

    def context(self) -> dict:
        """The condition keys that describe the caller."""
        keys = {f"aws:PrincipalTag/{name}": value for name, value in self.tags.items()}
        keys.update(self.keys)
        if self.arn is None:
            keys["aws:PrincipalType"] = "Anonymous"
            return keys
        keys["aws:PrincipalArn"] = self.role_arn or self.arn
        keys["aws:PrincipalAccount"] = self.account
        keys["aws:userid"] = self.user_id
        keys["aws:PrincipalType"] = "Account" if self.is_root else "AssumedRole" if self.role_arn else "User"
        if self.user_name is not None:
            keys["aws:username"] = self.user_name
        return keys
