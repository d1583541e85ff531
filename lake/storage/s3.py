"""The calls of S3 and of stores that speak as it does, by boto3.

Region, endpoint, profile and credentials are what AWS's own variables and files say.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from contracts.errors import ConfigurationError
from lake.storage.objects import (
    ABSENT,
    MAY_PASS,
    S3,
    THREADS,
    TIMEOUT_S,
    ArchivedError,
    ConditionError,
    IncompleteError,
    ObjectInfo,
    ObjectStorage,
)

try:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore import exceptions as broken
    from botocore.config import Config
    from urllib3.exceptions import HTTPError
except ImportError:
    raise ConfigurationError("s3:// needs boto3: pip install headrace[s3]") from None

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
_CHECKSUMS = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
_PIECE_BYTES = 16 << 20
_UPLOADS = TransferConfig(
    multipart_threshold=_PIECE_BYTES, multipart_chunksize=_PIECE_BYTES, max_concurrency=4, preferred_transfer_client="classic"
)
_BROKEN = (  # on the way; what has no answer may pass
    broken.HTTPClientError,
    broken.ConnectionError,
    broken.IncompleteReadError,
    broken.FlexibleChecksumError,
    HTTPError,
    ConnectionError,
    broken.CredentialRetrievalError,  # there were some when the client was made
)
_ERRORS = (broken.ClientError, broken.BotoCoreError, HTTPError, ConnectionError, RecursionError)
_NO_CREDENTIALS = (
    broken.NoCredentialsError,
    broken.PartialCredentialsError,
    broken.CredentialRetrievalError,
    broken.SSOError,
    broken.TokenRetrievalError,
    broken.LoginError,
)
_RENEW = "renew them (aws sso login, or the keys of the environment or profile)"
_MAY_PASS_CODES = frozenset(
    {"BadDigest", "InternalError", "NoSuchUpload", "RequestLimitExceeded", "RequestTimeout", "SlowDown", "Throttling",
     "ThrottlingException", "XAmzContentChecksumMismatch"}
)  # fmt: skip
_REFUSED = {
    "AccessDenied": "no permission; the guide to object storage has the policy that is needed. Without s3:ListBucket, what is not "
    "there is refused too",
    "ExpiredToken": f"the credentials have expired; {_RENEW}",
    "InvalidAccessKeyId": f"the credentials are not accepted; {_RENEW}",
    "InvalidObjectState": "the object is archived; restore it (aws s3api restore-object), or leave it out",
    "InvalidToken": f"the credentials are not accepted; {_RENEW}",
    "NotImplemented": "the store does not know what it was asked for; a lake needs one that knows If-None-Match and If-Match "
    "on writes",
    "PermanentRedirect": "the bucket is in another region, or at another endpoint; set AWS_REGION to the bucket's, or "
    "AWS_ENDPOINT_URL to that of its store",
    "400": "the store does not say why; are the credentials current, and AWS_REGION that of the bucket?",
    "RequestTimeTooSkewed": "the clock of this machine is wrong by more than the store allows; set it (NTP), then run it again",
    "SignatureDoesNotMatch": f"the credentials are not accepted (the secret key is not the one of the key id); {_RENEW}",
}
_SAME_AS = {
    "301": "PermanentRedirect",
    "307": "PermanentRedirect",
    "401": "InvalidAccessKeyId",
    "403": "AccessDenied",
    "501": "NotImplemented",
    "AuthorizationHeaderMalformed": "PermanentRedirect",
    "ExpiredTokenException": "ExpiredToken",
    "IllegalLocationConstraintException": "PermanentRedirect",
    "TokenRefreshRequired": "ExpiredToken",
    "Unauthorized": "InvalidAccessKeyId",
}


def s3_storage() -> ObjectStorage:
    """The storage behind ``s3://``; one client per process.

    Raises:
        ConfigurationError: there are no credentials, or AWS's variables and files contradict themselves.
    """
    return _storage(os.getpid(), next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None))


@functools.cache
def _storage(_pid: int, _endpoint: str | None) -> ObjectStorage:
    try:
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)  # boto3 reads AWS_DEFAULT_REGION alone
        if session.get_credentials() is None:
            raise broken.NoCredentialsError
        checksums = _checksums(session)
        client, uploads = (_client(session, attempts, checksums) for attempts in (1, 8))
    except _NO_CREDENTIALS as error:
        raise ConfigurationError(
            f"s3:// needs credentials ({_one_line(error)}): run aws configure or aws sso login, set AWS_PROFILE, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine or pod a role"
        ) from None
    except (broken.BotoCoreError, ValueError) as error:  # ValueError: of an endpoint that is no URL
        raise ConfigurationError(f"s3://: AWS's variables or files are not right: {_one_line(error)}") from None
    return ObjectStorage(S3Service(client, uploads))


def _checksums(session: Any) -> dict[str, str]:
    """Settings for checksums: many stores that are not Amazon's do not know those that boto3 adds by itself."""
    own = not str(urlsplit(session.client("s3").meta.endpoint_url).hostname).endswith(_AMAZON)
    if not own or any(name in os.environ for name in _CHECKSUMS):
        return {}
    return {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}


def _client(session: Any, attempts: int, checksums: Mapping[str, str]) -> Any:
    """A client. attempts: that it makes itself of each request."""
    return session.client(
        "s3",
        config=Config(
            connect_timeout=TIMEOUT_S[0],
            read_timeout=TIMEOUT_S[1],
            max_pool_connections=2 * THREADS,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            tcp_keepalive=True,
            **checksums,
        ),
    )


@dataclass(frozen=True, eq=False)
class S3Service:
    """See ``ObjectService``. The state of an object is its ETag: equal bytes may have the same."""

    client: Any
    uploads: Any
    scheme: ClassVar[str] = S3
    no_state: ClassVar[str] = f'"{"0" * 32}"'
    errors: ClassVar[tuple[type[Exception], ...]] = _ERRORS

    @property
    def address(self) -> str:
        """See ``ObjectService``."""
        endpoint = urlsplit(self.client.meta.endpoint_url)
        return f"{endpoint.scheme}://{endpoint.netloc.rpartition('@')[2]}"  # without a password

    def failure(self, error: Exception) -> str:
        """See ``ObjectService``."""
        if isinstance(error, broken.ClientError):
            return _answer(error)
        if isinstance(error, broken.SSLError) and "CERTIFICATE" in str(error):
            raise ConfigurationError(
                f"object storage: {self.address} has a certificate that is not trusted; name its authority's in AWS_CA_BUNDLE"
            ) from None
        if isinstance(error, RecursionError):  # botocore asks for the bucket's region, and is sent elsewhere again
            raise ConfigurationError(f"object storage: {_REFUSED['PermanentRedirect']} (everything is redirected)") from None
        if isinstance(error, _BROKEN):
            return type(error).__name__
        if isinstance(error, _NO_CREDENTIALS):
            raise ConfigurationError(f"object storage: no credentials: {_one_line(error)}; {_RENEW}") from None
        if isinstance(error, broken.ParamValidationError):
            raise ConfigurationError(f"object storage: {_one_line(error)}") from None
        raise error

    def get(self, bucket: str, key: str, start: int, size: int | None, state: str | None) -> bytes:
        """See ``ObjectService``."""
        span = {} if size is None else {"Range": f"bytes={start}-{start + size - 1}"}
        condition = {} if state is None else {"IfMatch": state}
        try:
            return bytes(self.client.get_object(Bucket=bucket, Key=key, **span, **condition)["Body"].read())
        except broken.ClientError as error:
            if _status(error) == 416:
                return b""
            raise

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """See ``ObjectService``."""
        told = self.client.head_object(Bucket=bucket, Key=key)
        return _info(bucket, key, told, told["ContentLength"], told["Metadata"])

    def put(self, bucket: str, key: str, content: bytes, metadata: Mapping[str, str], state: str | None) -> None:
        """See ``ObjectService``."""
        condition = {} if state is None else {"IfNoneMatch": "*"} if state == ABSENT else {"IfMatch": state}
        self.client.put_object(
            Bucket=bucket, Key=key, Body=content, ContentType="application/octet-stream", Metadata=metadata, **condition
        )

    def upload(self, bucket: str, key: str, file: Path, metadata: Mapping[str, str], deadline_s: float) -> None:
        """See ``ObjectService``."""
        told = {"ContentType": "application/octet-stream", "Metadata": metadata}
        with file.open("rb") as opened:
            self.uploads.upload_fileobj(opened, bucket, key, ExtraArgs=told, Config=_UPLOADS)

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectService``. S3 does not tell whether there was one, so it is asked for first."""
        self.client.head_object(Bucket=bucket, Key=key)
        self.client.delete_object(Bucket=bucket, Key=key)

    def list(self, bucket: str, prefix: str, delimiter: str | None) -> tuple[list[ObjectInfo], list[str]]:
        """See ``ObjectService``."""
        found: list[ObjectInfo] = []
        prefixes: list[str] = []
        delimited = {"Delimiter": delimiter} if delimiter else {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **delimited):
            if "IsTruncated" not in page:  # an empty answer is no empty folder
                raise IncompleteError
            found += [_info(bucket, one["Key"], one, one["Size"], None) for one in page.get("Contents", ())]
            prefixes += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        return found, prefixes


def _info(bucket: str, key: str, told: Mapping[str, Any], size_bytes: int, metadata: Mapping[str, str] | None) -> ObjectInfo:
    written_s = told["LastModified"].timestamp()
    return ObjectInfo(f"{S3}{bucket}/{key}", size_bytes, written_s, told["ETag"], written_s, metadata)


def _answer(error: Any) -> str:
    """What may pass of an answer, in a few words; else raises as ``ObjectService.failure``."""
    status, told = _status(error), error.response["Error"]
    code, message = str(told.get("Code", "")), told.get("Message") or "no reason given"
    if status in MAY_PASS or status == 409 or code in _MAY_PASS_CODES:  # 409: of writes at once
        return f"HTTP {status}" if code == str(status) or not code else f"HTTP {status} {code}"
    if status == 404:
        raise FileNotFoundError(2, "no such object") from None
    if status == 412:
        raise ConditionError from None
    reasons = [_REFUSED.get(_SAME_AS.get(one, one)) for one in (code, str(status))]
    reason = reasons[0] or reasons[1] or f"{error.operation_name} is refused"
    told_by = " ".join(f"{told.get('Header', '')} {message}".split())
    kind = ArchivedError if code == "InvalidObjectState" else ConfigurationError
    raise kind(f"object storage: {reason} ({status} {code}: {told_by})") from None


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
