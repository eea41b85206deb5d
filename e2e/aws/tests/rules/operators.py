"""Condition operators, each met and unmet."""

from evaluation import ROLE_ARN, SESSION, when

TAG = "aws:RequestTag/t"

# Condition operators, each met and not met.
OPERATORS = [
    when("StringEquals met", True, "StringEquals", TAG, "a", given={TAG: "a"}),
    when("StringEquals has case", False, "StringEquals", TAG, "A", given={TAG: "a"}),
    when("StringEquals one of several values", True, "StringEquals", TAG, ["x", "a"], given={TAG: "a"}),
    when("StringEquals reads no wildcard", False, "StringEquals", TAG, "a*", given={TAG: "ab"}),
    when("StringEquals without values", False, "StringEquals", TAG, [], given={TAG: "a"}),
    when("StringEquals of JSON true", True, "StringEquals", TAG, True, given={TAG: "true"}),
    when("StringNotEquals met", True, "StringNotEquals", TAG, "b", given={TAG: "a"}),
    when("StringNotEquals must differ from all values", False, "StringNotEquals", TAG, ["b", "a"], given={TAG: "a"}),
    when("StringEqualsIgnoreCase met", True, "StringEqualsIgnoreCase", TAG, "ABC", given={TAG: "abc"}),
    when("StringNotEqualsIgnoreCase unmet", False, "StringNotEqualsIgnoreCase", TAG, "ABC", given={TAG: "abc"}),
    when("StringLike star", True, "StringLike", TAG, "a*c", given={TAG: "abbc"}),
    when("StringLike question mark", False, "StringLike", TAG, "a?c", given={TAG: "abbc"}),
    when("StringLike has case", False, "StringLike", TAG, "A*", given={TAG: "abc"}),
    when("StringNotLike met", True, "StringNotLike", TAG, "x*", given={TAG: "abc"}),
    when("StringNotLike unmet", False, "StringNotLike", TAG, ["x*", "a*"], given={TAG: "abc"}),
    when(
        "NumericEquals ignores how it is written",
        True,
        "NumericEquals",
        "s3:max-keys",
        "10.0",
        given={"s3:max-keys": "10"},
    ),
    when("NumericEquals unmet", False, "NumericEquals", "s3:max-keys", "10", given={"s3:max-keys": "11"}),
    when("NumericNotEquals met", True, "NumericNotEquals", "s3:max-keys", "10", given={"s3:max-keys": "11"}),
    when("NumericLessThan met", True, "NumericLessThan", "s3:max-keys", "10", given={"s3:max-keys": "9"}),
    when(
        "NumericLessThan of an equal number", False, "NumericLessThan", "s3:max-keys", "10", given={"s3:max-keys": "10"}
    ),
    when(
        "NumericLessThan is a number's order", False, "NumericLessThan", "s3:max-keys", "9", given={"s3:max-keys": "10"}
    ),
    when("NumericLessThanEquals met", True, "NumericLessThanEquals", "s3:max-keys", "10", given={"s3:max-keys": "10"}),
    when("NumericGreaterThan unmet", False, "NumericGreaterThan", "s3:max-keys", "10", given={"s3:max-keys": "10"}),
    when(
        "NumericGreaterThanEquals met", True, "NumericGreaterThanEquals", "s3:max-keys", 10, given={"s3:max-keys": "10"}
    ),
    when(
        "a request value that is no number", False, "NumericLessThan", "s3:max-keys", "10", given={"s3:max-keys": "x"}
    ),
    when(
        "DateLessThan met",
        True,
        "DateLessThan",
        "aws:CurrentTime",
        "2026-01-02T00:00:00Z",
        given={"aws:CurrentTime": "2026-01-01T23:59:59Z"},
    ),
    when(
        "DateLessThan unmet",
        False,
        "DateLessThan",
        "aws:CurrentTime",
        "2026-01-01T00:00:00Z",
        given={"aws:CurrentTime": "2026-01-01T23:59:59Z"},
    ),
    when(
        "DateGreaterThan across zones",
        True,
        "DateGreaterThan",
        "aws:CurrentTime",
        "2026-01-01T01:00:00+02:00",
        given={"aws:CurrentTime": "2025-12-31T23:30:00Z"},
    ),
    when(
        "DateEquals a day",
        True,
        "DateEquals",
        "aws:CurrentTime",
        "2026-01-01",
        given={"aws:CurrentTime": "2026-01-01T00:00:00Z"},
    ),
    when(
        "DateNotEquals met",
        True,
        "DateNotEquals",
        "aws:CurrentTime",
        "2026-01-01",
        given={"aws:CurrentTime": "2026-01-02T00:00:00Z"},
    ),
    when(
        "DateLessThanEquals with seconds since 1970",
        True,
        "DateLessThanEquals",
        "aws:EpochTime",
        "1767225600",
        given={"aws:EpochTime": "1767225600"},
    ),
    when(
        "DateGreaterThanEquals unmet",
        False,
        "DateGreaterThanEquals",
        "aws:CurrentTime",
        "2026-01-02",
        given={"aws:CurrentTime": "2026-01-01T00:00:00Z"},
    ),
    when("Bool met", True, "Bool", "aws:SecureTransport", "true", given={"aws:SecureTransport": True}),
    when("Bool of JSON met", True, "Bool", "aws:SecureTransport", True, given={"aws:SecureTransport": True}),
    when("Bool unmet", False, "Bool", "aws:SecureTransport", "false", given={"aws:SecureTransport": True}),
    when("BinaryEquals met", True, "BinaryEquals", TAG, "QUI=", given={TAG: "QUI="}),
    when("BinaryEquals unmet", False, "BinaryEquals", TAG, "QUM=", given={TAG: "QUI="}),
    when(
        "IpAddress in the range", True, "IpAddress", "aws:SourceIp", "10.1.0.0/16", given={"aws:SourceIp": "10.1.2.3"}
    ),
    when(
        "IpAddress outside",
        False,
        "IpAddress",
        "aws:SourceIp",
        ["10.1.0.0/16", "10.3.0.0/16"],
        given={"aws:SourceIp": "10.2.2.3"},
    ),
    when(
        "IpAddress of a range written from within",
        True,
        "IpAddress",
        "aws:SourceIp",
        "10.1.2.3/16",
        given={"aws:SourceIp": "10.1.9.9"},
    ),
    when("IpAddress alone", True, "IpAddress", "aws:SourceIp", "10.1.2.3", given={"aws:SourceIp": "10.1.2.3"}),
    when(
        "IpAddress of version 6",
        True,
        "IpAddress",
        "aws:SourceIp",
        "2001:db8::/32",
        given={"aws:SourceIp": "2001:db8::1"},
    ),
    when(
        "NotIpAddress unmet", False, "NotIpAddress", "aws:SourceIp", "10.1.0.0/16", given={"aws:SourceIp": "10.1.2.3"}
    ),
    when("ArnEquals with a wildcard", True, "ArnEquals", "aws:PrincipalArn", "arn:aws:iam::*:user/al*"),
    when("ArnLike compares part by part", False, "ArnLike", "aws:PrincipalArn", "arn:aws:*:user/alice"),
    when(
        "ArnLike met",
        True,
        "ArnLike",
        "aws:PrincipalArn",
        ["arn:aws:iam::123456789012:role/*", "arn:aws:iam::123456789012:user/*"],
    ),
    when("ArnNotEquals unmet", False, "ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::123456789012:user/alice"),
    when("ArnNotLike met", True, "ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:role/*"),
    when("a session's principal is its role", True, "ArnEquals", "aws:PrincipalArn", ROLE_ARN, principal=SESSION),
    when("Null true for a missing key", True, "Null", TAG, "true"),
    when("Null true for a key that is there", False, "Null", TAG, "true", given={TAG: "a"}),
    when("Null false for a key that is there", True, "Null", TAG, "false", given={TAG: "a"}),
    when("Null false for a missing key", False, "Null", TAG, False),
]
