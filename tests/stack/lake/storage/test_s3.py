"""What is S3's own: its answers, its settings, its keys, and stores that speak as it does but not quite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from contracts.errors import ComponentDownError, ConfigurationError
from lake.location import Lake
from lake.raw.inputs import InputError, copy_input, expand_inputs
from lake.storage import s3, storage_of
from lake.storage.objects import ObjectStorage
from tests.support.buckets import Emulator
from tests.support.faulty import FaultyProxy, Scripted, faulty

KEYS = (
    "100%.jsonl", "a%2Fb.jsonl", "a+b c.jsonl", "ä/日本/\u00e9e\u0301.jsonl", "x//y.jsonl",
    "./dots/../z.jsonl", "q?a=b&c#d.jsonl", "~'();:@,!$*.jsonl",
)  # fmt: skip


@pytest.fixture
def emulator(s3_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    s3_emulator.use(monkeypatch)
    return s3_emulator


@pytest.fixture
def client(emulator: Emulator) -> Any:
    return boto3.client("s3", region_name="eu-west-1")


@pytest.fixture
def storage(bucket: str) -> ObjectStorage:
    return s3.s3_storage()


@pytest.fixture
def proxy(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """What ``s3://`` means, with a script."""
    with faulty(FaultyProxy(emulator.address, share=0)) as proxy:
        emulator.use(monkeypatch, proxy.address)
        yield proxy


def answer(status: int, code: str, *headers: tuple[str, str], more: str = "") -> Scripted:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told</Message>{more}</Error>"
    return status, [("Content-Type", "application/xml"), *headers], body.encode()


def first(times: int, scripted: Scripted, method: str) -> Callable[..., Scripted | None]:
    """Answers so a number of times."""
    left = [scripted] * times
    return lambda asked, _path, _headers: left.pop() if left and asked == method else None


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditions_holds_no_lake(header: str, bucket: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    proxy.ignored = (header,)
    lake = Lake.at(f"{bucket}/lake", f"sqlite:///{tmp_path}/c.db")
    with pytest.raises(ConfigurationError, match=rf"{bucket}/lake/_runs/lake: http://\S+ writes over .* \({header} is ignored\)"):
        lake.create()
    assert [file.location for file in storage_of(bucket).files(bucket)] == [lake.at_key("_runs/lake")]


def test_conditions_are_checked_once_in_a_process(bucket: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    lake = Lake.at(f"{bucket}/lake", f"sqlite:///{tmp_path}/c.db")
    counts = []
    for _ in range(2):
        lake.create()
        counts.append(proxy.requests)
    assert counts[1] - counts[0] == 1


def test_a_store_that_refuses_conditions_is_told_at_once(bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    storage.write(f"{bucket}/x", b"before")
    header = "<Header>If-None-Match</Header>"
    proxy.script = lambda _m, _p, headers: answer(501, "NotImplemented", more=header) if headers.get("If-None-Match") else None
    before = proxy.requests + len(proxy.seen)
    with pytest.raises(
        ConfigurationError, match=r"does not know .* If-None-Match and If-Match on writes \(501 NotImplemented: If-N"
    ):
        storage.put_if_absent(f"{bucket}/x", b"after")
    assert proxy.requests + len(proxy.seen) == before + 1
    assert storage.read(f"{bucket}/x") == b"before"


def test_writers_who_are_in_each_others_way_try_again(bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    proxy.script = first(3, answer(409, "ConditionalRequestConflict"), "PUT")
    with ThreadPoolExecutor(3) as pool:
        wrote = list(pool.map(lambda _: storage.put_if_absent(f"{bucket}/x", b"x"), range(3)))
    assert wrote.count(True) == 1
    proxy.script = first(1, answer(409, "ConditionalRequestConflict"), "PUT")
    storage.update(f"{bucket}/x", lambda known: (known or b"") + b"y")
    assert storage.read(f"{bucket}/x") == b"xy"


def test_an_update_of_what_is_deleted_meanwhile_begins_anew(bucket: str, storage: ObjectStorage) -> None:
    storage.write(f"{bucket}/x", b"old")
    seen: list[bytes | None] = []

    def change(known: bytes | None) -> bytes:
        seen.append(known)
        storage.delete(f"{bucket}/x")
        return b"new"

    storage.update(f"{bucket}/x", change)
    assert seen == [b"old", None]
    assert storage.read(f"{bucket}/x") == b"new"


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", "no permission; .* s3:ListBucket"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        (403, "SignatureDoesNotMatch", "the secret key is not the one"),
        (400, "ExpiredToken", "have expired; renew them"),
        (403, "InvalidObjectState", "is archived; restore it"),
        (301, "PermanentRedirect", "in another region, or at another endpoint; set AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", "in another region, or at another endpoint"),
        (400, "InvalidRequest", "are the credentials current"),
        (405, "MethodNotAllowed", "GetObject is refused"),
    ],
)
def test_each_refusal_says_what_to_do(
    status: int, code: str, told: str, bucket: str, proxy: FaultyProxy, storage: ObjectStorage
) -> None:
    proxy.script = lambda *_: answer(status, code, ("x-amz-bucket-region", "eu-west-3"))
    with pytest.raises(ConfigurationError, match=rf"{bucket}/x: object storage: .*{told}.*\({status} {code}: told\)"):
        storage.read(f"{bucket}/x")


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (400, "RequestTimeout"), (500, "InternalError"), (200, "")])
def test_what_may_pass_is_tried_again(status: int, code: str, bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    storage.write(f"{bucket}/in/x", b"x")
    scripted = answer(status, code) if code else (200, [("Content-Type", "application/xml")], b"")
    proxy.script = first(2, scripted, "GET")
    assert [file.location for file in storage.files(f"{bucket}/in")] == [f"{bucket}/in/x"]
    proxy.script = lambda *_: scripted
    with pytest.raises(ComponentDownError, match=f"no answer for {bucket}/in in 0 s"):
        replace(storage, deadline_s=0.2).files(f"{bucket}/in")


def test_a_bucket_in_another_region_is_found(bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    def script(_method: str, _path: str, headers: Any) -> Scripted | None:
        if "/eu-central-1/" in headers["Authorization"]:
            return None
        return answer(301, "PermanentRedirect", ("x-amz-bucket-region", "eu-central-1"))

    proxy.script = script
    storage.write(f"{bucket}/x", b"x")
    assert storage.read(f"{bucket}/x") == b"x"
    assert storage.stat(f"{bucket}/x").size_bytes == 1


def test_an_endpoint_that_redirects_everything_is_told(bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    proxy.script = lambda *_: (301, [("Location", "https://elsewhere.example/")], b"")
    with pytest.raises(ConfigurationError, match=f"{bucket}/x: object storage: .* AWS_ENDPOINT_URL .* .everything is redirected"):
        storage.write(f"{bucket}/x", b"x")


def test_a_short_answer_is_not_the_end_of_a_file(bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    content = os.urandom(50_000)
    storage.write(f"{bucket}/x", content)
    with storage.open(f"{bucket}/x") as file:
        part = [("Content-Range", "bytes 0-9/50000"), ("ETag", '"x"')]
        proxy.script = first(2, (206, part, content[:10]), "GET")
        assert file.read() == content


def test_a_large_upload_survives_lost_answers(bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    content = os.urandom(17 << 20)
    file = storage.scratch(f"{bucket}/x")
    file.write_bytes(content)
    proxy.share, proxy.only, proxy.matching = 0.3, ("reset after", 503), "?"  # its beginning, its pieces and its end
    left = [answer(404, "NoSuchUpload")]
    proxy.script = lambda method, path, _: left.pop() if left and method == "POST" and "uploadId" in path else None
    storage.upload(file, f"{bucket}/x", 1_000_000)
    begun = [headers for headers in proxy.seen if headers.get("x-amz-meta-headrace-modified-us")]
    assert len(begun) > 1 and proxy.broken  # it was not known whether it had ended, so it began anew
    assert storage.read(f"{bucket}/x") == content
    assert storage.modified_us([storage.info(f"{bucket}/x")]) == [1_000_000]


def test_an_error_within_a_success_is_no_success(bucket: str, proxy: FaultyProxy, storage: ObjectStorage) -> None:
    file = storage.scratch(f"{bucket}/x")
    file.write_bytes(b"x" * (17 << 20))
    _, headers, body = answer(200, "InternalError")
    left = [(200, headers, body)] * 2
    proxy.script = lambda method, path, _: left.pop() if left and method == "POST" and "uploadId" in path else None
    storage.upload(file, f"{bucket}/x")
    assert left == [] and storage.stat(f"{bucket}/x").size_bytes == 17 << 20


def test_keys_are_taken_as_they_are(bucket: str, storage: ObjectStorage, client: Any) -> None:
    for key in (*KEYS, "folder/"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=f"in/{key}", Body=key.encode())
    assert {file.location for file in storage.files(f"{bucket}/in")} == {f"{bucket}/in/{key}" for key in KEYS}
    assert {file.uri for file in expand_inputs((f"{bucket}/in",)) if not file.refused} >= {f"{bucket}/in/{KEYS[0]}"}
    for key in KEYS:
        assert storage.read(f"{bucket}/in/{key}") == key.encode()
        assert [file.uri for file in expand_inputs((f"{bucket}/in/{key}",))] == [f"{bucket}/in/{key}"]
        assert storage.delete(f"{bucket}/in/{key}")
    assert storage.files(f"{bucket}/in") == []


def test_what_is_archived_is_told(bucket: str, storage: ObjectStorage, client: Any, tmp_path: Path) -> None:
    client.put_object(Bucket=bucket.removeprefix("s3://"), Key="old", Body=b"x", StorageClass="GLACIER")
    with pytest.raises(ConfigurationError, match=f"{bucket}/old: object storage: the object is archived; restore it"):
        storage.read(f"{bucket}/old")
    (file,) = expand_inputs((f"{bucket}/old",))
    with pytest.raises(InputError, match="it is archived; restore it first"):
        copy_input(file, tmp_path / "copy")


def test_a_bucket_with_versions(bucket: str, storage: ObjectStorage, client: Any) -> None:
    client.put_bucket_versioning(Bucket=bucket.removeprefix("s3://"), VersioningConfiguration={"Status": "Enabled"})
    location = f"{bucket}/x"
    assert storage.put_if_absent(location, b"one") and not storage.put_if_absent(location, b"two")
    assert storage.delete(location) and not storage.delete(location)
    assert storage.put_if_absent(location, b"three")
    with storage.open(location) as file:
        storage.write(location, b"four!")
        with pytest.raises(FileNotFoundError):
            file.read()
    assert [file.size_bytes for file in storage.files(bucket)] == [5]


def test_inputs_with_gzip_as_content_encoding_are_taken_verbatim(bucket: str, storage: ObjectStorage, client: Any) -> None:
    client.put_object(Bucket=bucket.removeprefix("s3://"), Key="x.gz", Body=b"\x1f\x8bnot really", ContentEncoding="gzip")
    assert storage.read(f"{bucket}/x.gz") == b"\x1f\x8bnot really"


def test_checksums_that_other_stores_do_not_know_are_not_sent_to_them(
    bucket: str, emulator: Emulator, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent() -> set[str]:
        proxy.seen.clear()
        s3._storage.cache_clear()
        s3.s3_storage().write(f"{bucket}/x", b"x")
        return {
            name.lower() for headers in proxy.seen for name in headers if "checksum" in name.lower() or "trailer" in name.lower()
        }

    assert sent() == set()
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    assert sent()
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    found = s3.s3_storage()
    assert found.service.address == "https://s3.eu-west-1.amazonaws.com"
    assert isinstance(found.service, s3.S3Service)
    assert found.service.client.meta.config.request_checksum_calculation == "when_supported"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"AWS_ACCESS_KEY_ID": ""},
            r"s3:// needs credentials \(Unable to locate credentials\): run aws configure or aws sso login",
        ),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "s3:// needs credentials .Partial credentials"),
        ({"AWS_PROFILE": "none"}, "AWS's variables or files are not right: The config profile .none. could not be found"),
        ({"AWS_ENDPOINT_URL_S3": "minio:9000"}, "AWS's variables or files are not right: Invalid endpoint"),
        ({"AWS_REGION": "eu west"}, "AWS's variables or files are not right"),
    ],
)
def test_settings_that_do_not_fit_are_told(
    environ: dict[str, str], told: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    s3._storage.cache_clear()
    with pytest.raises(ConfigurationError, match=told):
        storage_of("s3://b/x")


def test_the_endpoint_and_the_region_of_a_profile_are_taken(
    bucket: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[profile own]\nregion = eu-south-1\nendpoint_url = {emulator.address}\n")
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "own")
    s3._storage.cache_clear()
    storage = s3.s3_storage()
    assert isinstance(storage.service, s3.S3Service)
    settings = storage.service.client.meta
    assert (settings.region_name, settings.config.request_checksum_calculation) == ("eu-south-1", "when_required")
    storage.write(f"{bucket}/x", b"x")
    s3._storage.cache_clear()


def test_a_name_that_no_bucket_can_have_is_told(storage: ObjectStorage) -> None:
    with pytest.raises(
        ConfigurationError, match="s3://no_such bucket!/x: object storage: Parameter validation failed: Invalid bucket"
    ):
        storage.read("s3://no_such bucket!/x")
