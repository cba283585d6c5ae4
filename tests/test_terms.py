from __future__ import annotations

import pytest

from pacsai import terms
from pacsai.terms import Code, known, meanings

CONSTANTS = {name: value for name, value in vars(terms).items() if isinstance(value, Code)}


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_code_is_in_the_dictionaries_or_reviewed_with_the_meaning_given_there(name: str) -> None:
    code = CONSTANTS[name]
    assert known(code), f"{code} is none of {meanings(code)}"


def test_a_reviewed_code_is_one_that_the_dictionaries_do_not_hold_so_and_names_its_source() -> None:
    for code, source in terms.REVIEWED.items():
        assert code.meaning not in terms._dictionary().get((code.scheme, code.value), ())
        assert source


def test_a_code_with_another_meaning_is_not_known() -> None:
    texture = Code("246205007", "SCT", "Texture")  # it means quantity; no other program complained
    assert not known(texture)


def test_a_code_that_nobody_looked_up_is_not_known() -> None:
    assert not known(Code("123456", "99LOCAL", "Something"))
    assert not meanings(Code("123456", "99LOCAL", "Something"))


def test_a_code_is_its_value_and_scheme_whatever_it_is_called() -> None:
    assert Code("27925004", "SCT", "Knoten") == terms.NODULE
    assert len({Code("27925004", "SCT", "Knoten"), terms.NODULE}) == 1


def test_values_and_meanings_fit_their_attributes() -> None:
    for code in CONSTANTS.values():
        assert len(code.value) <= 16  # SH
        assert len(code.scheme) <= 16  # SH
        assert len(code.meaning) <= 64  # LO
