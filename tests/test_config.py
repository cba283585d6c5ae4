"""Site settings: the fixed keys, and a sentence for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pacsai.config import DicomWebArchive, DimseArchive, FolderArchive, OrthancArchive, Site, SiteError, load
from tests.conftest import ROOT

FIXED_KEYS = """
node: {ae_title: PACSAI, host: 127.0.0.1, port: 11112, data: ./pacsai-data, callers: any}
study: {quiet_s: 10}
archive: {kind: dimse, ae_title: ORTHANC, host: 127.0.0.1, port: 4242}
jobs: {database: sqlite}
pipelines: {chest_ct_nodules: {results: [SEG, SR, GSPS, SC]}}
web: {port: 8080}
"""


def site_of(folder: Path, text: str) -> Site:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def problems(folder: Path, was: str, becomes: str) -> list[str]:
    """Return the lines that loading the fixed keys gives after one replacement."""
    assert was in FIXED_KEYS
    with pytest.raises(SiteError) as raised:
        site_of(folder, FIXED_KEYS.replace(was, becomes))
    return str(raised.value).splitlines()


def test_the_fixed_keys_are_read(tmp_path: Path) -> None:
    site = site_of(tmp_path, FIXED_KEYS)
    assert (site.node.ae_title, site.node.port, site.node.callers) == ("PACSAI", 11112, "any")
    assert site.study.quiet_s == 10
    assert isinstance(site.archive, DimseArchive)
    assert site.archive.port == 4242
    assert site.jobs.database == "sqlite"
    assert site.pipelines["chest_ct_nodules"].results == ("SEG", "SR", "GSPS", "SC")
    assert site.web.port == 8080


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    assert site_of(tmp_path, FIXED_KEYS).node.data == tmp_path / "pacsai-data"


def test_settings_are_frozen(tmp_path: Path) -> None:
    site = site_of(tmp_path, FIXED_KEYS)
    with pytest.raises(ValidationError, match="frozen"):
        site.node.port = 1  # type: ignore[misc]


def test_the_example_of_deploy_loads_and_shows_the_defaults(tmp_path: Path) -> None:
    example = load(ROOT / "deploy" / "site.example.yaml")
    shortest = site_of(
        tmp_path,
        f"node: {{data: {example.node.data}}}\n"
        "archive: {kind: dimse, ae_title: ORTHANC, host: 127.0.0.1, port: 4242}\n"
        "pipelines: {chest_ct_nodules: {}}",
    )
    assert shortest == example


@pytest.mark.parametrize(
    ("archive", "kind"),
    [
        ("{kind: dicomweb, url: 'http://127.0.0.1:8042/dicom-web/'}", DicomWebArchive),
        ("{kind: orthanc, url: 'https://orthanc.example'}", OrthancArchive),
        ("{kind: folder, path: results}", FolderArchive),
    ],
)
def test_the_kind_of_archive_decides_its_keys(tmp_path: Path, archive: str, kind: type) -> None:
    text = FIXED_KEYS.replace("{kind: dimse, ae_title: ORTHANC, host: 127.0.0.1, port: 4242}", archive)
    assert isinstance(site_of(tmp_path, text).archive, kind)


def test_callers_may_be_a_list(tmp_path: Path) -> None:
    text = FIXED_KEYS.replace("callers: any", "callers: [{ae_title: CT1, address: 127.0.0.1}]")
    (caller,) = site_of(tmp_path, text).node.callers
    assert caller.ae_title == "CT1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("ae_title: PACSAI", "ae_tilte: PACSAI", "node.ae_tilte: unknown key; did you mean 'ae_title'?"),
        ("study: ", "studdy: ", "studdy: unknown key; did you mean 'study'?"),
        ("port: 4242", "prot: 4242", "archive.prot: unknown key; did you mean 'port'?"),
        ("results: [SEG", "result: [SEG", "pipelines.chest_ct_nodules.result: unknown key; did you mean 'results'?"),
        ("callers: any", "callers: [{aetitle: A, address: h}]", "node.callers.0.aetitle: unknown key; did you mean"),
        ("callers: any", "callers: all", "node.callers: given 'all'; should be 'any'"),
        ("port: 11112", "port: 99999", "node.port: given 99999; should be less than or equal to 65535"),
        ("port: 11112", "port: dicom", "node.port: given 'dicom'; should be a valid integer"),
        ("ae_title: PACSAI", "ae_title: A_TITLE_FAR_TOO_LONG", "given 'A_TITLE_FAR_TOO_LONG'; expected 1 to 16"),
        ("ae_title: PACSAI", "ae_title: ''", "node.ae_title: given ''; expected 1 to 16"),
        ("ae_title: PACSAI", r"ae_title: 'A\B'", "no backslash"),
        ("quiet_s: 10", "quiet_s: 0", "study.quiet_s: given 0; should be greater than 0"),
        ("kind: dimse", "kind: pacs", "archive: given"),
        ("database: sqlite", "database: mysql://u:pw@h/n", "jobs.database: given 'mysql://…@h/n'; expected 'sqlite'"),
        ("SEG, SR", "SEGG, SR", "pipelines.chest_ct_nodules.results.0: given 'SEGG'; should be 'SEG'"),
        ("archive: {", "web: {}\nweb: {", "not a YAML file: the key 'web' stands twice"),
        ("port: 4242", "port: 4242, tls: true", "archive.tls needs the certificate, key and authorities of node.tls"),
        (
            "callers: any",
            "callers: [{ae_title: A, address: h, certificate: a}]",
            "node: callers with a certificate can only",
        ),
        (
            "kind: dimse, ae_title: ORTHANC, host: 127.0.0.1, port: 4242",
            "kind: dicomweb, url: 'http://h', tls: true",
            "archive.dicomweb: tls needs an https:// URL",
        ),
    ],
)
def test_a_mistake_is_named_with_what_is_expected(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    assert said in "\n".join(problems(tmp_path, was, becomes))


def test_every_problem_has_its_own_line(tmp_path: Path) -> None:
    lines = problems(tmp_path, "port: 11112, data: ./pacsai-data", "port: -1, dat: x")
    assert [line.split(":")[0] for line in lines] == ["node.port", "node.data", "node.dat"]


def test_a_key_of_another_kind_of_archive_is_not_suggested(tmp_path: Path) -> None:
    lines = problems(tmp_path, "kind: dimse, ae_title: ORTHANC,", "kind: folder, path: x,")
    assert "archive.host: unknown key; known here: kind, path" in lines


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="cannot be read"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b", "just words"])
def test_a_file_that_is_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(SiteError, match="expected a mapping with the keys node, study"):
        site_of(tmp_path, text)
