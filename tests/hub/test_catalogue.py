"""The catalogue finds models on the Hub, tells what a repository holds, and looks into files that are not here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.fake_hub import FakeHub
from support.tiny_models import write_model

from chatterm.errors import HubBusy, HubError, ModelUnreadable, NoNetwork, RepoNotFound, TokenRefused
from chatterm.gguf import read_header
from chatterm.hub import catalogue, download
from chatterm.hub.catalogue import Found, OfferedModel, Query

BILLION = 1_000_000_000


@pytest.fixture
def shelf(hub: FakeHub) -> FakeHub:
    """A Hub with some more repositories."""
    hub.repos.clear()
    hub.add("qwen/Qwen-7B-GGUF", "q.gguf", b"q", downloads=300, likes=1, trending=2, modified="2026-01-01",
            architecture="qwen3", parameters=7 * BILLION, context=40960, licence="apache-2.0",
            base_model="qwen/Qwen-7B")  # fmt: skip
    hub.add("meta/Llama-8B-GGUF", "l.gguf", b"l", downloads=200, likes=9, trending=1, modified="2026-01-05",
            architecture="llama", parameters=8 * BILLION, licence="llama3.1", is_gated=True)  # fmt: skip
    hub.add("lab/Small-1B-GGUF", "s.gguf", b"s", downloads=100, likes=5, trending=9, modified="2026-03-01",
            architecture="llama", parameters=1_200_000_000, licence="apache-2.0")  # fmt: skip
    hub.add("lab/Pictures", "model.safetensors", b"p", downloads=10_000)
    return hub


def repos(query: Query, limit: int = 50) -> list[str]:
    return [found.repo for found in catalogue.search(query, limit)]


def test_a_search_tells_what_the_hub_knows(shelf: FakeHub) -> None:
    assert catalogue.search(Query("qwen")) == [
        Found(
            repo="qwen/Qwen-7B-GGUF",
            n_downloads=300,
            n_likes=1,
            modified="2026-01-01",
            architecture="qwen3",
            n_parameters=7 * BILLION,
            n_ctx_train=40960,
            licence="apache-2.0",
            is_gated=False,
            base_model="qwen/Qwen-7B",
        )
    ]


def test_only_repositories_with_gguf_files_are_found(shelf: FakeHub) -> None:
    assert repos(Query()) == ["qwen/Qwen-7B-GGUF", "meta/Llama-8B-GGUF", "lab/Small-1B-GGUF"]


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("downloads", "qwen/Qwen-7B-GGUF"),
        ("likes", "meta/Llama-8B-GGUF"),
        ("trending", "lab/Small-1B-GGUF"),
        ("modified", "lab/Small-1B-GGUF"),
    ],
)
def test_the_order_is_the_one_that_was_asked_for(shelf: FakeHub, sort: catalogue.Sort, first: str) -> None:
    assert repos(Query(sort=sort))[0] == first


def test_gated_repositories_are_marked(shelf: FakeHub) -> None:
    assert {found.repo for found in catalogue.search(Query()) if found.is_gated} == {"meta/Llama-8B-GGUF"}


def test_filters_let_pass_what_they_name(shelf: FakeHub) -> None:
    shelf.add("lab/Unknown-GGUF", "u.gguf", b"u")

    assert repos(Query(architecture="llama")) == ["meta/Llama-8B-GGUF", "lab/Small-1B-GGUF"]
    assert repos(Query(licence="apache-2.0")) == ["qwen/Qwen-7B-GGUF", "lab/Small-1B-GGUF"]
    assert repos(Query(min_parameters=2 * BILLION)) == ["qwen/Qwen-7B-GGUF", "meta/Llama-8B-GGUF"]
    assert repos(Query(max_parameters=7 * BILLION)) == ["qwen/Qwen-7B-GGUF", "lab/Small-1B-GGUF"]
    assert repos(Query(max_parameters=1_100_000_000)) == []  # the Hub is asked for 2 billion, the rest is done here
    assert repos(Query("lab", architecture="llama", max_parameters=2 * BILLION)) == ["lab/Small-1B-GGUF"]


def test_filters_hold_where_the_hub_does_not_know_them(shelf: FakeHub) -> None:
    shelf.ignores_filters = True

    assert repos(Query(max_parameters=2 * BILLION)) == ["lab/Small-1B-GGUF"]
    assert repos(Query(licence="llama3.1")) == ["meta/Llama-8B-GGUF"]


def test_pages_are_turned_until_enough_is_found(shelf: FakeHub) -> None:
    shelf.page_size = 2
    for n in range(5):
        shelf.add(f"lab/Fill{n}-GGUF", "f.gguf", b"f", downloads=1000 - n, architecture="other")

    assert repos(Query(architecture="llama")) == ["meta/Llama-8B-GGUF", "lab/Small-1B-GGUF"]
    assert len(repos(Query(), limit=3)) == 3
    assert len(repos(Query(), limit=50)) == 8


def test_a_search_does_not_turn_pages_for_ever(shelf: FakeHub) -> None:
    shelf.page_size = 1
    for n in range(30):
        shelf.add(f"lab/Fill{n}-GGUF", "f.gguf", b"f", downloads=1000 - n)

    assert repos(Query(architecture="llama")) == []
    assert len([seen for seen in shelf.seen if seen.path == "/api/models"]) < 10


def test_what_was_found_is_given_when_a_later_page_fails(shelf: FakeHub) -> None:
    shelf.page_size = 2
    shelf.next_page = f"{shelf.url}/gone"  # where there is nothing

    assert repos(Query()) == ["qwen/Qwen-7B-GGUF", "meta/Llama-8B-GGUF"]


def test_the_token_follows_no_link_to_another_place(shelf: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    shelf.page_size = 2
    shelf.next_page = shelf.storage_url

    assert len(repos(Query())) == 2
    assert [seen.token for seen in shelf.seen] == ["hf_secret"]


@pytest.mark.parametrize(
    "words",
    [
        "lab/Small-1B-GGUF",
        "  lab/Small-1B-GGUF:Q4_K_M ",
        "https://huggingface.co/lab/Small-1B-GGUF/blob/main/s.gguf",
        "hf.co/lab/Small-1B-GGUF",
    ],
)
def test_a_repository_is_found_by_its_name_or_address(shelf: FakeHub, words: str) -> None:
    shelf.add("other/lab-Small-1B-GGUF-copy", "s.gguf", b"s", downloads=10_000)

    assert repos(Query(words, architecture="qwen3"))[0] == "lab/Small-1B-GGUF"


def test_a_repository_is_found_by_its_name_when_the_search_does_not_list_it(shelf: FakeHub) -> None:
    shelf.hides.add("lab/Small-1B-GGUF")

    assert repos(Query("small")) == []
    assert repos(Query("lab/Small-1B-GGUF")) == ["lab/Small-1B-GGUF"]


def test_a_repository_without_gguf_files_leads_to_those_that_have_them(shelf: FakeHub) -> None:
    shelf.add("qwen/Qwen-7B", "model.safetensors", b"w")
    shelf.add("friend/Qwen-7B-quants", "q.gguf", b"q")

    assert repos(Query("qwen/Qwen-7B"))[0] == "qwen/Qwen-7B-GGUF"
    assert repos(Query("nobody/Qwen-7B")) == ["qwen/Qwen-7B-GGUF", "friend/Qwen-7B-quants"]


def test_what_is_missing_or_odd_in_an_answer_is_left_out(shelf: FakeHub) -> None:
    shelf.repos.clear()
    shelf.add("lab/None-GGUF", "n.gguf", b"n", raw={"downloads": None, "likes": None, "gated": None, "gguf": None})
    odd = {"downloads": "many", "likes": -3, "gguf": [1], "lastModified": 7, "gated": {"a": 1}, "tags": ["gguf", 5]}
    shelf.add("lab/Odd-GGUF", "o.gguf", b"o", raw=odd)
    shelf.add("lab/Odder-GGUF", "o.gguf", b"o", raw={"gguf": {"total": True, "architecture": 3, "context_length": "x"}})
    shelf.add("lab/Huge-GGUF", "o.gguf", b"o", raw={"downloads": 10**40, "lastModified": "yesterday"})
    shelf.add("lab/NoName-GGUF", "o.gguf", b"o", raw={"id": 3})
    shelf.add("lab/Bad-GGUF", "o.gguf", b"o", raw={"id": "../../etc/passwd"})
    shelf.add("lab/Escape-GGUF", "o.gguf", b"o", raw={"id": "lab/\x1b[31mred"})
    shelf.add("lab/Red-GGUF", "o.gguf", b"o", architecture="re\x1b[31md", licence="\x1b]0;title\x07", context=1)

    found = {each.repo: each for each in catalogue.search(Query())}

    assert set(found) == {"lab/None-GGUF", "lab/Odd-GGUF", "lab/Odder-GGUF", "lab/Huge-GGUF", "lab/Red-GGUF"}
    assert found["lab/None-GGUF"] == Found("lab/None-GGUF", modified="2026-01-01")
    assert found["lab/Odd-GGUF"] == Found("lab/Odd-GGUF")
    assert found["lab/Odder-GGUF"] == Found("lab/Odder-GGUF", n_downloads=1, modified="2026-01-01")
    assert found["lab/Huge-GGUF"] == Found("lab/Huge-GGUF")
    assert "\x1b" not in found["lab/Red-GGUF"].architecture + found["lab/Red-GGUF"].licence


@pytest.mark.parametrize(
    "answer", [b"", b"<html>Please log in</html>", b"{}", b'"text"', b"[" * 5000, b"\xff\xfe", b"[1, 2", b"null"]
)
def test_an_answer_that_is_none_is_said(shelf: FakeHub, answer: bytes) -> None:
    shelf.faults.answer = answer

    with pytest.raises(NoNetwork, match="does not speak"):
        catalogue.search(Query("qwen"))
    with pytest.raises(HubError):
        catalogue.about("lab/Small-1B-GGUF")
    with pytest.raises(HubError):
        catalogue.models_in("lab/Small-1B-GGUF")


def test_entries_that_are_none_are_left_out(shelf: FakeHub) -> None:
    shelf.faults.answer = b'[1, null, [], {}, {"id": "lab/Good"}]'

    assert catalogue.search(Query()) == [Found("lab/Good")]


def test_a_silent_hub_is_given_up(shelf: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    shelf.faults.hangs = True
    with pytest.raises(NoNetwork, match="did not answer"):
        catalogue.search(Query("qwen"))


def test_a_search_ends_at_its_deadline(shelf: FakeHub) -> None:
    shelf.faults.hangs = True
    with pytest.raises(NoNetwork, match="within 0 seconds"):
        catalogue.search(Query("qwen"), deadline_seconds=0.3)


def test_a_busy_hub_is_said_at_once(shelf: FakeHub) -> None:
    shelf.faults.refusals = [("/api/models", 429, {"Retry-After": "7"})]
    with pytest.raises(HubBusy) as busy:
        catalogue.search(Query("qwen"))
    assert busy.value.retry_after_seconds == 7

    shelf.faults.refuses_always = {"/api/models": 502}
    with pytest.raises(HubBusy):
        catalogue.search(Query("qwen"))
    assert len(shelf.seen) == 2  # not again and again behind the back of whoever waits


def test_a_refused_token_is_said(shelf: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "bad")
    with pytest.raises(TokenRefused):
        catalogue.search(Query("qwen"))


def test_a_mirror_without_search_is_said(shelf: FakeHub) -> None:
    shelf.faults.refuses_always = {"/api/models": 404}
    with pytest.raises(NoNetwork, match="does not speak"):
        catalogue.search(Query("qwen"))


def test_offline_asks_nobody(shelf: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NoNetwork, match="Offline"):
        catalogue.search(Query("qwen"))
    with pytest.raises(NoNetwork, match="Offline"):
        catalogue.models_in("lab/Small-1B-GGUF")
    assert shelf.seen == []


def test_about_tells_of_one_repository(shelf: FakeHub) -> None:
    found = catalogue.about("https://huggingface.co/meta/Llama-8B-GGUF")

    assert (found.repo, found.licence, found.is_gated) == ("meta/Llama-8B-GGUF", "llama3.1", True)
    with pytest.raises(RepoNotFound):
        catalogue.about("lab/Missing")
    with pytest.raises(RepoNotFound):
        catalogue.about("nonsense")


def test_a_repository_tells_its_models_smallest_first(hub: FakeHub) -> None:
    repo = "lab/Many-GGUF"
    for name, size in {"F16": 16_000, "Q8_0": 8_500, "Q4_K_M": 4_400, "Q2_K": 3_100}.items():
        hub.add(repo, f"{name}/Many-7B-{name}.gguf", b"x", size=size * 1_000_000)
    hub.add(repo, "mmproj-F16.gguf", b"x")
    hub.add(repo, "Many-7B.imatrix.gguf", b"x")
    hub.add(repo, "README.md", b"x")

    found = catalogue.models_in(repo)

    assert [model.quantization for model in found] == ["Q2_K", "Q4_K_M", "Q8_0", "F16"]
    assert found[1] == OfferedModel(
        repo=repo,
        commit=hub.repos[repo].commits[-1],
        name="Many-7B-Q4_K_M",
        quantization="Q4_K_M",
        meaning="4 bits a weight, more where it counts; the usual choice of size against quality; "
        "about a quarter of the size of F16",
        files=("Q4_K_M/Many-7B-Q4_K_M.gguf",),
        size_bytes=4_400_000_000,
        is_here=False,
        kind="many-7b",
    )
    assert "half the size of F16" in found[2].meaning
    assert found[3].meaning == "16 bits a weight; practically as trained"


def test_sizes_are_compared_among_files_of_the_same_model(hub: FakeHub) -> None:
    repo = "lab/Two-GGUF"
    for name, size in {"Two-70B-F16": 140, "Two-7B-Q8_0": 8, "Two-7B-Q4_0": 4, "unnamed": 1}.items():
        hub.add(repo, f"{name}.gguf", b"x", size=size * BILLION)

    meanings = {model.name: model.meaning for model in catalogue.models_in(repo)}

    assert meanings["Two-7B-Q4_0"].endswith("about half the size of Q8_0")
    assert "size of" not in meanings["Two-7B-Q8_0"]
    assert meanings["unnamed"] == ""


def test_parts_are_one_model_and_half_a_model_is_none(hub: FakeHub) -> None:
    repo = "lab/Split-GGUF"
    for n in (1, 2, 3):
        hub.add(repo, f"Big-Q8_0-0000{n}-of-00003.gguf", b"x" * n)
    hub.add(repo, "Half-Q8_0-00001-of-00002.gguf", b"x")
    hub.add(repo, "Tail-Q8_0-00002-of-00002.gguf", b"x")

    (model,) = catalogue.models_in(repo)

    assert (model.name, model.size_bytes) == ("Big-Q8_0", 6)
    assert model.files == tuple(f"Big-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3))


def test_models_that_are_here_are_marked(hub: FakeHub) -> None:
    hub.add("lab/Tiny-GGUF", "Tiny-Q8_0.gguf", b"x" * 100)
    list(download.pull("lab/Tiny-GGUF", "Q8_0"))

    here = {model.quantization: model.is_here for model in catalogue.models_in("lab/Tiny-GGUF")}
    assert here == {"Q8_0": True, "Q4_K_M": False}

    hub.add("lab/Tiny-GGUF", "Tiny-Q8_0.gguf", b"y" * 101)  # another file now, under the same name
    assert not any(model.is_here for model in catalogue.models_in("lab/Tiny-GGUF"))


def test_names_that_lead_elsewhere_or_steer_a_terminal_are_not_offered(hub: FakeHub) -> None:
    for file in ("../../x.gguf", "/etc/x.gguf", "a\\b.gguf", "re\x1b[31md.gguf", "two\nlines.gguf"):
        hub.add("lab/Bad-GGUF", file, b"x")
    hub.add("lab/Bad-GGUF", "good.gguf", b"x")

    assert [model.name for model in catalogue.models_in("lab/Bad-GGUF")] == ["good"]


def test_a_repository_without_models_has_none(hub: FakeHub) -> None:
    hub.add("lab/Empty", "README.md", b"x")

    assert catalogue.models_in("lab/Empty") == []
    with pytest.raises(RepoNotFound):
        catalogue.models_in("lab/Missing")


@pytest.fixture
def tiny(hub: FakeHub, tmp_path: Path) -> Path:
    """A real small model on the Hub, and where it lies here."""
    path = write_model(tmp_path / "tiny.gguf")
    hub.add("lab/Real-GGUF", "Real-F32.gguf", path.read_bytes() + bytes(20_000_000))
    return path


def the_model() -> OfferedModel:
    (model,) = catalogue.models_in("lab/Real-GGUF")
    return model


def test_a_header_is_read_without_fetching_the_file(hub: FakeHub, tiny: Path) -> None:
    header = catalogue.header_of(the_model())

    assert header == read_header(tiny)
    assert hub.n_sent <= 2_000_000
    assert all(seen.range for seen in hub.bodies())


def test_a_header_is_read_once(hub: FakeHub, tiny: Path) -> None:
    catalogue.header_of(the_model())
    n_before = len(hub.bodies())
    catalogue.header_of(the_model())

    assert len(hub.bodies()) == n_before

    hub.add("lab/Real-GGUF", "Real-F32.gguf", b"another file now")
    with pytest.raises(ModelUnreadable):
        catalogue.header_of(the_model())


def test_a_long_header_comes_in_pieces(hub: FakeHub, tmp_path: Path) -> None:
    path = write_model(tmp_path / "long.gguf", n_vocab=60_000)
    hub.add("lab/Real-GGUF", "Real-F32.gguf", path.read_bytes())
    header = read_header(path)
    assert header.data_offset > 1 << 20

    assert catalogue.header_of(the_model()) == header
    assert len(hub.bodies()) > 1

    hub.faults.ignores_range = True
    hub.add("lab/Real-GGUF", "Real-F32.gguf", path.read_bytes() + b"another commit")
    assert catalogue.header_of(the_model()) == header


def test_a_server_without_ranges_is_left_when_the_header_is_there(hub: FakeHub, tiny: Path) -> None:
    hub.add("lab/Real-GGUF", "Real-F32.gguf", tiny.read_bytes() + bytes(100_000_000))
    hub.faults.ignores_range = True

    assert catalogue.header_of(the_model()) == read_header(tiny)
    assert hub.n_sent < 30_000_000  # what the network holds on its way counts, too


def test_the_token_goes_to_the_hub_and_not_to_the_storage(
    hub: FakeHub, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.has_storage = True
    hub.repos["lab/Real-GGUF"].is_gated = True

    assert catalogue.header_of(the_model()) == read_header(tiny)
    assert {(seen.at_storage, seen.token) for seen in hub.bodies()} == {(False, "hf_good"), (True, "")}


def test_a_header_that_cannot_be_had_is_said(hub: FakeHub, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = the_model()

    hub.faults.page = b"<html>Please log in</html>"
    with pytest.raises(ModelUnreadable, match="web page"):
        catalogue.header_of(model)
    hub.faults.page = None

    hub.faults.wrong_range = True
    hub.add("lab/Long-GGUF", "Long-F32.gguf", write_model(tiny.with_name("long.gguf"), n_vocab=60_000).read_bytes())
    (long,) = catalogue.models_in("lab/Long-GGUF")
    with pytest.raises(NoNetwork, match="another part"):
        catalogue.header_of(long)
    hub.faults.wrong_range = False

    hub.faults.cut_after = 1000
    with pytest.raises(NoNetwork, match="broke"):
        catalogue.header_of(model)
    hub.faults.cut_after = None

    hub.faults.refuses_always = {"/lab/Real-GGUF": 503}
    with pytest.raises(HubBusy):
        catalogue.header_of(model)
    hub.faults.refuses_always = {"/lab/Real-GGUF": 404}
    with pytest.raises(RepoNotFound):
        catalogue.header_of(model)
    hub.faults.refuses_always = {}

    hub.has_storage = True
    hub.faults.refuses_always = {"/storage/": 503}
    with pytest.raises(HubBusy):
        catalogue.header_of(model)
    hub.faults.refuses_always = {"/storage/": 403}
    with pytest.raises(NoNetwork, match="403"):
        catalogue.header_of(model)


def test_a_file_that_is_no_gguf_is_said(hub: FakeHub) -> None:
    (model,) = catalogue.models_in("lab/Tiny-GGUF")  # random bytes

    with pytest.raises(ModelUnreadable, match="not a usable GGUF"):
        catalogue.header_of(model)


def test_the_recommended_list_can_be_used() -> None:
    made, models = catalogue.recommended()

    assert time.strptime(made, "%Y-%m-%d")
    assert len(models) >= 10
    assert [model.needs_bytes for model in models] == sorted(model.needs_bytes for model in models)
    assert models[0].needs_bytes <= BILLION
    assert models[-1].needs_bytes <= 64 * BILLION
    for model in models:
        assert model.repo.endswith("-GGUF")
        assert model.good_for.endswith(".")
        assert model.licence
        assert "GGUF" not in model.name
        assert catalogue.quantizations.meaning(model.quantization)


def test_importing_the_catalogue_loads_no_client() -> None:
    code = "import sys, chatterm.hub.catalogue; sys.exit(bool({'huggingface_hub', 'httpx2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
