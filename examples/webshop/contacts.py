"""The CRM's contacts: exports of a German desktop, so semicolons, decimal commas and cp1252."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from examples.webshop.defects import COPIES, due
from examples.webshop.entities import Columns, EntityDefect, copy_versions, put, spoil_versions
from examples.webshop.files import set_mtime
from examples.webshop.people import Person, iso
from examples.webshop.sessions import Shop
from examples.webshop.truth import OUT, Row, Truth

COLUMNS = (
    "Contact ID", "Email", "Phone", "First Name", "Last Name", "Birth Date", "Country", "Marketing Consent",
    "Lifetime Value", "Loyalty Points", "Notes", "Last Modified",
)  # fmt: skip
RECORDS_PER_FILE = 20_000
FILES_MIN = 3
NEXT_FILE_MS = 8 * 3_600_000
NOTES = (
    "",
    "",
    "Ruft gern abends an.",
    'Sagt: "nie wieder Newsletter"; später doch.',
    "Wünscht Rückruf\r\nbis Freitag",
    "Grüße von der Messe\nHalle 7; Stand 12 – 15 € Gutschein",
    "Straße geändert, siehe Anhang",
)
QUOTE = '"'
_SPECIAL = re.compile('[;"\r\n]')


def _short(row: Columns, _: Random) -> Columns:
    return {name: value for name, value in row.items() if name not in ("Notes", "Last Modified")}


def _long(row: Columns, _: Random) -> Columns:
    return {**row, "extra": "verrutscht"}


def _conflict(row: Columns, rng: Random) -> Columns:
    return {**row, "Loyalty Points": str(int(row["Loyalty Points"]) + rng.randrange(1, 500))}


CONTACT_DEFECTS = (
    EntityDefect("bad_email", put({"Email": "kontakt(at)example.com"}), "bad_pattern"),
    EntityDefect("phone_of_excel", put({"Phone": "4.47E+11"}), "bad_pattern"),
    EntityDefect("ragged_short", _short, "ragged_row", 1e-3),
    EntityDefect("ragged_long", _long, "ragged_row", 1e-3),
    EntityDefect("born_1899", put({"Birth Date": "1899-12-31"}), "out_of_range"),
    EntityDefect("born_on_no_day", put({"Birth Date": "31.02.1990"}), "bad_timestamp"),
    EntityDefect("negative_points", put({"Loyalty Points": "-250"}), "out_of_range"),
    EntityDefect("points_beyond_int64", put({"Loyalty Points": "92233720368547758070"}), "out_of_range"),
    EntityDefect("points_as_word", put({"Loyalty Points": "viele"}), "wrong_type"),
    EntityDefect("country_name", put({"Country": "Deutschland"}), "bad_pattern"),
    EntityDefect("missing_contact_id", put({"Contact ID": ""}), "missing_required"),
    EntityDefect("mostly_empty", lambda row, _: dict.fromkeys(row, "") | _key(row), None, expected=OUT),
)


def _key(row: Columns) -> Columns:
    return {name: row[name] for name in ("Contact ID", "Last Modified")}


def write_contacts(shop: Shop, directory: Path, total: int, rng: Random, truth: Truth) -> None:
    """All of DIR/crm, some `total` records: each file has the contacts that changed since the last one."""
    files = max(FILES_MIN, -(-total // min(RECORDS_PER_FILE, len(shop.people) * 4 // 5)))
    cuts = [total * number // files for number in range(files + 1)]
    carried: list[Row] = []
    for number in range(files):
        first, last = cuts[number], cuts[number + 1]
        start_s, end_s = (shop.calendar.even_ms(part / files) // 1000 for part in (number, number + 1))
        changed = rng.sample(shop.people, last - first - len(carried))
        rows = [_version(person, rng.randrange(start_s, end_s), rng) for person in changed]
        end_ms = end_s * 1000 - 1
        spoil_versions(rows, due(CONTACT_DEFECTS, "crm", first, last, total), rng)
        copies = copy_versions(rows, due(COPIES, "crm", first, last, total), end_ms, _conflict, rng)
        rows += carried
        carried = [copy for copy in copies if copy.at_ms > end_ms]
        rows += [copy for copy in copies if copy.at_ms <= end_ms]
        if last == total:
            rows += carried
        rows.sort(key=lambda row: row.at_ms)
        path = directory / f"contacts-{number:04d}.csv"
        lines = [";".join(COLUMNS), *(_line(row.body) for row in rows), ""]
        path.write_bytes("\r\n".join(lines).encode("cp1252"))
        set_mtime(path, end_ms + NEXT_FILE_MS)
        truth.add_file("crm", f"crm/{path.name}", rows)


def _version(person: Person, updated_s: int, rng: Random) -> Row:
    """What the CRM knows of a person at a time of the wall clock in Berlin."""
    contact_id = f"C-{person.number:08d}"
    updated = iso(updated_s * 1000)[:19].replace("T", " ")
    body = dict(
        zip(
            COLUMNS,
            (
                contact_id,
                person.email,
                person.phone if person.number % 5 else "",
                person.first_name,
                person.last_name,
                person.birth_date if person.number % 7 else "",
                person.country,
                "true" if person.marketing else "false",
                f"{int(rng.random() * 5_000)},{int(rng.random() * 100):02d}",
                str(int(rng.random() * 20_000)),
                NOTES[int(rng.random() * len(NOTES))],
                updated,
            ),
            strict=True,
        )
    )
    return Row(updated_s * 1000, person.person_id, None, body, f"{contact_id}@{updated}")


def _line(row: Columns) -> str:
    return ";".join([f'"{value.replace(QUOTE, QUOTE * 2)}"' if _SPECIAL.search(value) else value for value in row.values()])
