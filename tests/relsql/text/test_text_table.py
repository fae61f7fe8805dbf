from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from relsql.text.text_table import TextTable
from relsql.typing import FloatArray

WIDTH = 4


def embed(texts: Sequence[str]) -> FloatArray:
    """An embedding that identifies the text."""
    return np.array([[len(t), ord(t[0]) if t else 0, hash(t) % 1000, 1] for t in texts], dtype=np.float32)


def test_ids_start_at_one_and_stay() -> None:
    table = TextTable(WIDTH, embed)
    assert table.ids(pa.array(["b", "a", None, "b"])).to_pylist() == [1, 2, 0, 1]
    assert table.ids(pa.array(["a", "", "c"])).to_pylist() == [2, 3, 4]
    assert (len(table), table.texts) == (4, ["b", "a", "", "c"])
    assert table.ids(pa.array(["a"])).type == pa.int32()
    np.testing.assert_array_equal(
        table.embeddings(np.array([[0, 1], [2, 4]])), [[[0] * 4, *embed("b")], [*embed("a"), *embed("c")]]
    )


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(["x", None, "y", "x"]),
        pa.array(["x", None, "y", "x"], pa.large_string()),
        pa.array(["x", None, "y", "x"], pa.string_view()),
        pa.array(["x", None, "y", "x"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 2, 3]), pa.array([None, "x", "y", "x"])),
        pa.array(["q", "x", None, "y", "x", "q"])[1:5],
        pa.array(["q", "x", None, "y", "x", "q"]).dictionary_encode()[1:5],
        pa.chunked_array([["x", None], [], ["y", "x"]]),
        pa.chunked_array([pa.array(["x", None]).dictionary_encode(), pa.array(["y", "x"]).dictionary_encode()]),
    ],
    ids=["string", "large", "view", "dictionary", "NULL in it", "slice", "its slice", "chunks", "its chunks"],
)
def test_arrays_of_every_form(texts: pa.Array) -> None:
    table = TextTable(WIDTH, embed)
    one, none, two, again = table.ids(texts).to_pylist()
    assert (none, again) == (0, one) and {one, two} <= set(range(1, 4)) and one != two
    np.testing.assert_array_equal(table.embeddings(np.array([one, two])), embed(["x", "y"]))


@pytest.mark.parametrize(
    "texts",
    [pa.array([], pa.string()), pa.chunked_array([], pa.string()), pa.array([], pa.string()).dictionary_encode()],
)
def test_no_rows(texts: pa.Array) -> None:
    assert TextTable(WIDTH, embed).ids(texts).to_pylist() == []


def test_only_nulls() -> None:
    table = TextTable(WIDTH, embed)
    assert table.ids(pa.array([None, None], pa.string())).to_pylist() == [0, 0]
    assert len(table) == 0


def test_known_texts_keep_id_and_embedding() -> None:
    table = TextTable(WIDTH)
    table.add(["a", "b", "a"], np.array([[1] * 4, [2] * 4, [3] * 4], dtype=np.float32))
    table.add(["b"], np.array([[9] * 4], dtype=np.float32))
    assert table.ids(pa.array(["a", "b", "new"])).to_pylist() == [1, 2, 3]
    np.testing.assert_array_equal(table.embeddings(np.arange(4))[:, 0], [0, 1, 2, 0])


def test_the_table_grows() -> None:
    table = TextTable(WIDTH, embed)
    texts = [f"text {i}" for i in range(5000)]
    for start in range(0, 5000, 700):
        table.ids(pa.array(texts[start : start + 700]))
    ids = table.ids(pa.array(texts)).to_numpy()
    assert ids.tolist() == list(range(1, 5001))
    np.testing.assert_array_equal(table.embeddings(ids), embed(texts))
    assert not table.embeddings(np.array([0])).any()


def test_a_failed_embedding_adds_nothing() -> None:
    def fail(texts: Sequence[str]) -> FloatArray:
        raise RuntimeError("no encoder")

    table = TextTable(WIDTH, fail)
    with pytest.raises(RuntimeError, match="no encoder"):
        table.ids(pa.array(["a"]))
    assert (len(table), table.texts) == (0, [])


def test_stored_texts_are_looked_up_before_any_is_embedded() -> None:
    asked: list[list[str]] = []
    embedded: list[str] = []

    def lookup(texts: Sequence[str]) -> tuple[list[str], FloatArray]:
        asked.append(list(texts))
        found = [text for text in texts if text.startswith("s")] + ["ahead", "known"]
        return found, embed(found)

    def counted(texts: Sequence[str]) -> FloatArray:
        embedded.extend(texts)
        return embed(texts)

    table = TextTable(WIDTH, counted, lookup)
    table.add(["known"], embed(["known"]))
    words = ["new", "s1", None, "known", "s2", "new"]
    ids = table.ids(pa.array(words)).to_numpy()
    assert (asked, embedded) == ([["new", "s1", "s2"]], ["new"])
    np.testing.assert_array_equal(table.embeddings(ids[[0, 1, 3, 4, 5]]), embed(["new", "s1", "known", "s2", "new"]))
    assert table.ids(pa.array(["ahead", *words])).to_numpy()[1:].tolist() == ids.tolist()
    assert len(asked) == 1 and sorted(table.texts) == ["ahead", "known", "new", "s1", "s2"]


def test_eight_threads_agree() -> None:
    calls: list[int] = []

    def counted(texts: Sequence[str]) -> FloatArray:
        calls.append(len(texts))
        return embed(texts)

    table = TextTable(WIDTH, counted)
    words = [f"{chr(97 + i % 26)}{i}" for i in range(4000)]
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            rng = np.random.default_rng(number)
            start.wait()
            for _ in range(60):
                texts = [words[i] for i in rng.integers(0, len(words), 200)]
                ids = table.ids(pa.array([*texts, None])).to_numpy()
                assert ids[-1] == 0
                np.testing.assert_array_equal(table.embeddings(ids[:-1]), embed(texts))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # No text is embedded twice, and every id belongs to one text.
    assert sum(calls) == len(table) == len(set(table.texts))
    assert table.ids(pa.array(table.texts)).to_pylist() == list(range(1, len(table) + 1))


def test_a_limit_holds_and_old_ids_keep_their_meaning() -> None:
    limit = 100_000
    forgotten: list[int] = []
    table = TextTable(WIDTH, embed, max_bytes=limit, forgotten=lambda: forgotten.append(1))
    texts = [f"{chr(97 + i % 26)} text {i}" for i in range(5000)]
    ids = np.concatenate([table.ids(pa.array(texts[i : i + 300])).to_numpy() for i in range(0, 5000, 300)])
    assert len(set(ids.tolist())) == 5000 and table.held_bytes <= limit and len(table) < limit / 200
    assert forgotten and table.texts == texts[-len(table) :] and table.oldest_id == 5001 - len(table)
    np.testing.assert_array_equal(table.embeddings(ids), embed(texts))
    # A text that is still in memory keeps its id; one that was dropped gets a new id with the same embedding.
    again = table.ids(pa.array([texts[-1], texts[0]])).to_numpy()
    assert again.tolist() == [5000, 5001]
    np.testing.assert_array_equal(table.embeddings(again), embed([texts[-1], texts[0]]))


def test_more_texts_at_once_than_the_limit_has_room_for() -> None:
    def lookup(asked: Sequence[str]) -> tuple[list[str], FloatArray]:
        found = [*asked, *(f"ahead {i}" for i in range(20_000))]
        return found, embed(found)

    table = TextTable(WIDTH, embed, lookup, max_bytes=1_500_000)
    texts = [f"t{i}" for i in range(2048)]
    ids = table.ids(pa.array(texts)).to_numpy()
    np.testing.assert_array_equal(table.embeddings(ids), embed(texts))
    assert table.held_bytes <= 1_500_000 and "t0" not in table.texts


def test_eight_threads_hold_ids_while_texts_are_forgotten() -> None:
    table = TextTable(WIDTH, embed, max_bytes=120_000)
    failures: list[BaseException] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            rng = np.random.default_rng(number)
            held: list[tuple[np.ndarray, list[str]]] = []
            start.wait()
            for step in range(80):
                texts = [f"{chr(97 + i % 26)}{i}" for i in rng.integers(0, 20_000, 100)]
                held.append((table.ids(pa.array(texts)).to_numpy(), texts))
                ids, expected = held[rng.integers(max(0, step - 20), len(held))]
                np.testing.assert_array_equal(table.embeddings(ids), embed(expected))
            for ids, expected in held:
                np.testing.assert_array_equal(table.embeddings(ids), embed(expected))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert table.held_bytes <= 120_000 and table.oldest_id > 20_000
