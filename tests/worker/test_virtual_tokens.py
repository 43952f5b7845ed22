"""Prefix, prompt and P-tuning: rows behind virtual tokens have the loss they have alone; the base stays as it is."""

from contextlib import ExitStack, nullcontext
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from models.catalog.continuing import check_same_shape
from models.catalog.methods.prefix import PrefixOptions
from models.domain.adapter import AdapterManifest
from models.domain.chat import ChatRequest, Sampling, ServedModel, TreeRef
from models.domain.errors import AppError
from models.domain.ids import Sha256
from models.domain.progress import Remarked
from models.domain.training import MethodChoice, Quantisation
from tests.method_facts import shapes_of
from tests.tiny import tiny_base
from tests.training import TREE_SHA256, conversations, losses, training_job
from worker.chat.decode import speak
from worker.chat.engine import Engine
from worker.chat.residents import ResidentKey, Residents
from worker.data.base_folder import read_base_folder
from worker.data.render import Rendered, Span
from worker.device import device_facts
from worker.jobdir import JobDir
from worker.loading import WEIGHTS, attach_adapter, load_base, load_dequantised
from worker.methods.prefix import begin
from worker.methods.virtual import STATE, load_state
from worker.stop import Stop
from worker.train.adapter import fresh_adapter, save_trained
from worker.train.loss import TokenLoss, batch_of
from worker.train.run import run
from worker.train.samples import answer

CPU = device_facts("cpu")
KINDS = ("prefix", "prompt", "ptuning")
TOKENS = 5
IDS = torch.tensor([[1, 40, 41, 42, 43, 44]])  # (B, T)
KEY = ResidentKey(base=Sha256(TREE_SHA256), quantisation=Quantisation.NF4)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, JobDir]:
    """A job for each kind, and for LoRA, all on the same base in NF4."""
    root = tmp_path_factory.mktemp("trained")
    jobs = {}
    for kind in (*KINDS, "lora"):
        jobs[kind] = job(root / kind, kind, quantisation="nf4")
        assert run(jobs[kind], Stop()).status == "succeeded"
    return jobs


def job(root, kind, **wish) -> JobDir:
    options = {"rank": 4} if kind == "lora" else {"tokens": TOKENS}
    wish = {"data": {"sample_rows": 0}, "learning_rate": 0.1} | wish
    return training_job(root, method=kind, options=options, **wish)


def fresh(base, kind) -> PeftModel:
    plain = load_base(base, Quantisation.NONE, CPU, torch.float32)
    return fresh_adapter(plain, MethodChoice(name=kind, options={"tokens": TOKENS}), shapes_of(base), seed=0).eval()


def row(*ids: int, trained: int) -> Rendered:
    return Rendered(ids=list(ids), spans=(Span(turn=1, start=len(ids) - trained, end=len(ids)),), text="")


ROWS = [row(1, 30, 31, 32, trained=1), row(1, 40, 41, 42, 43, 44, 45, 46, trained=5), row(1, 50, 51, trained=2)]


# -- how a row is read ------------------------------------------------------------------------------------------


@torch.no_grad()
def test_at_the_start_it_answers_as_the_base_does_behind_tokens_of_its_own(base):
    """Of its vocabulary for prefix and prompt; of a network that writes them for P-tuning."""
    bare = load_base(base, Quantisation.NONE, CPU, torch.float32)
    embedding = bare.get_input_embeddings()
    for kind in KINDS:
        model = fresh(base, kind)
        if kind == "prefix":
            torch.manual_seed(7)
            begin(model, PrefixOptions(tokens=TOKENS))
            torch.manual_seed(7)
            in_front = embedding(torch.randint(bare.config.vocab_size, (1, TOKENS)))
        else:
            in_front = model.get_prompt(1)
        if kind == "prompt":
            assert (torch.cdist(in_front[0], embedding.weight).amin(dim=1) < 1e-3).all()
        wanted = bare(inputs_embeds=torch.cat([in_front, embedding(IDS)], dim=1)).logits[:, TOKENS:]
        assert torch.allclose(model(IDS).logits[:, -IDS.shape[1] :], wanted, atol=1e-4), kind
        assert not torch.allclose(wanted, bare(IDS).logits, atol=1e-2), kind


def test_rows_of_several_lengths_have_together_the_loss_and_gradient_they_have_alone(kind, base):
    """Padded, through the head in chunks; against PEFT's own pass over each row, all its logits."""
    model = fresh(base, kind)
    loss = TokenLoss(model, ROWS[0])
    assert loss.selects and not loss.packs
    together = loss.by_row(batch_of(ROWS))
    found = torch.autograd.grad(together.sum(), trained_of(model))
    alone = torch.stack([nats(model, one) for one in ROWS])
    wanted = torch.autograd.grad(alone.sum(), trained_of(model))
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-4)
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in zip(found, wanted, strict=True))


def trained_of(model) -> list[torch.Tensor]:
    return [one for one in model.parameters() if one.requires_grad]


def nats(model, one: Rendered) -> torch.Tensor:
    logits = model(torch.tensor([one.ids]), use_cache=False).logits[0, -len(one.ids) :]
    said = logits.log_softmax(dim=-1)
    return -sum(said[place - 1, one.ids[place]] for span in one.spans for place in range(span.start, span.end))


def test_rows_end_where_the_virtual_tokens_leave_no_more_of_the_context(kind, tmp_path):
    long = [{"messages": [{"role": "user", "content": "x" * (450 + 10 * number)},
                          {"role": "assistant", "content": "red"}]} for number in range(8)]  # fmt: skip
    jobdir = job(tmp_path, kind, rows=[*conversations(10), *long])
    run(jobdir, Stop())
    said = [one.text for one in jobdir.said_since(0)[0] if isinstance(one, Remarked)]
    assert any(f"longer than {512 - TOKENS} tokens" in text for text in said), said


# -- training ---------------------------------------------------------------------------------------------------


def test_gradient_checkpointing_is_refused_for_a_prefix_and_changes_nothing_for_the_others(trained, kind, tmp_path):
    jobdir = job(tmp_path, kind, quantisation="nf4", gradient_checkpointing=True)
    if kind == "prefix":
        with pytest.raises(AppError, match="Prefix tuning does not train with activations computed twice") as caught:
            run(jobdir, Stop())
        assert caught.value.facts["param"] == "schedule.gradient_checkpointing"
    else:
        assert run(jobdir, Stop()).status == "succeeded"
        assert losses(jobdir) == pytest.approx(losses(trained[kind]), rel=1e-4)


def test_the_best_weights_are_published_also_where_a_network_wrote_them(tmp_path):
    """The proof measures what was saved against the evaluation whose weights they are."""
    others = [
        {"messages": [one["messages"][0], {"role": "assistant", "content": "Z" * 30}]} for one in conversations(6)
    ]
    jobdir = job(
        tmp_path, "ptuning", validation=others, keep_best=True, evaluate_every=1, epochs=2, learning_rate=0.3
    )  # ever fewer of them are answered
    assert run(jobdir, Stop()).status == "succeeded"
    assert (jobdir.root / "best" / "adapter" / STATE).is_file() and not (jobdir.out / STATE).exists()
    manifest = AdapterManifest.model_validate_json((jobdir.out / "manifest.json").read_text())
    assert manifest.data.adapter_step is not None


@torch.no_grad()
def test_kept_weights_come_back_into_the_very_parameters(kind, base, tmp_path):
    model = fresh(base, kind)
    said, held = model(IDS).logits, trained_of(model)
    save_trained(model, tmp_path, "tiny")
    for one in held:
        one.add_(1.0)
    assert not torch.allclose(model(IDS).logits, said, atol=1e-2)
    load_state(model, tmp_path)
    assert torch.equal(model(IDS).logits, said)
    assert all(one is other for one, other in zip(held, trained_of(model), strict=True))


@torch.no_grad()
def test_training_goes_on_from_the_very_tokens_unless_a_network_wrote_them(trained, base, kind):
    folder, choice = trained[kind].out, MethodChoice(name=kind, options={"tokens": TOKENS})
    plain = load_base(base, Quantisation.NONE, CPU, torch.float32)
    if kind == "ptuning":
        manifest = AdapterManifest.model_validate_json((folder / "manifest.json").read_text())
        with pytest.raises(AppError, match="the network that wrote its tokens is not part of it"):
            check_same_shape(choice, manifest.model_dump(mode="json"))
    else:
        model = fresh_adapter(plain, choice, shapes_of(base), seed=3, start=folder).eval()
        wanted = attach_adapter(load_base(base, Quantisation.NONE, CPU, torch.float32), folder)(IDS).logits
        assert torch.equal(model(IDS).logits, wanted) and trained_of(model)


def test_in_bf16_the_tokens_themselves_stay_float32(kind, tmp_path):
    jobdir = job(tmp_path, kind, compute_dtype="bf16")
    assert run(jobdir, Stop()).status == "succeeded"
    assert load_file(jobdir.out / WEIGHTS)["prompt_embeddings"].dtype == torch.float32


# -- serving ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_with_a_cache_it_says_what_it_says_when_everything_is_read_anew(trained, kind):
    """Samples while it trains, and chat, against PEFT's own pass over the whole text for every token."""
    base, folder = trained[kind].inputs / "base", trained[kind].out
    model = attach_adapter(load_dequantised(base, CPU, torch.float32, Quantisation.NF4), folder)
    ids, anew = IDS[0].tolist(), []
    for _ in range(8):
        anew.append(int(model(torch.tensor([ids + anew]), use_cache=False).logits[0, -1].argmax()))
    sampled = answer(model, ids, 8, (), Stop())
    assert sampled is not None and list(sampled.ids) == anew

    residents, said = Residents(CPU, memory_bytes=10**9), []
    held = residents.ready(KEY, base, Sha256(kind), folder)
    tokenizer = read_base_folder(base).tokenizer
    for _ in range(2):  # what the first answer reads is not in the second's cache
        speak(held, tokenizer, ids, Sampling(max_tokens=8, temperature=0), (), said.append, lambda: False,
              residents.begun(KEY, Sha256(kind)))  # fmt: skip
    assert "".join(said) == 2 * tokenizer.decode(anew, skip_special_tokens=True)


@torch.no_grad()
def test_kinds_take_turns_on_one_base_that_stays_as_it_is(trained):
    base, residents = trained["lora"].inputs / "base", Residents(CPU, memory_bytes=10**9)
    alone = residents.ready(KEY, base)(IDS).logits
    weights = {name: one.clone() for name, one in residents.ready(KEY, base).state_dict().items()}
    for kind in (*KINDS, "lora", *KINDS, "lora"):
        model, begun = residents.ready(KEY, base, Sha256(kind), trained[kind].out), residents.begun(KEY, Sha256(kind))
        fresh = attach_adapter(load_dequantised(base, CPU, torch.float32, Quantisation.NF4), trained[kind].out)
        said = model(IDS, past_key_values=deepcopy(begun)).logits
        assert (begun is None) == (kind == "lora")
        assert torch.allclose(said, fresh(IDS).logits[:, -IDS.shape[1] :], atol=1e-4), kind
        assert not torch.allclose(said, alone, atol=1e-3), kind
        assert torch.equal(residents.ready(KEY, base)(IDS).logits, alone), kind
    assert [len(adapters) for _, adapters in residents.loaded()] == [4]  # none has driven another out
    for kind in (*KINDS, "lora"):
        residents.unload(KEY, Sha256(kind))
    assert torch.equal(residents.ready(KEY, base)(IDS).logits, alone)
    held = residents.ready(KEY, base).state_dict()
    assert all(torch.equal(one, held[name.replace(".weight", ".base_layer.weight")] if name not in held else held[name])
               for name, one in weights.items())  # fmt: skip


def test_an_answer_has_so_much_less_room_as_the_virtual_tokens_take(trained, kind):
    folders = {"b" * 64: trained[kind].inputs / "base", "a" * 64: trained[kind].out}
    engine = Engine(device="cpu", memory_bytes=10**9, threads=1, fetch=lambda ref, _: nullcontext(folders[ref.sha256]))
    request = ChatRequest(
        request_id="r", messages=({"role": "user", "content": "x" * 470},), sampling=Sampling(max_tokens=200, seed=1),
        deadline_at=datetime.now(UTC) + timedelta(seconds=60),
        model=ServedModel(
            public_id="tiny", base=TreeRef(scope="shared", sha256="b" * 64), quantisation=Quantisation.NF4,
            adapter=TreeRef(scope="team/1", sha256="a" * 64),
        ),
    )  # fmt: skip
    with ExitStack() as held:
        turn = engine._prepare(request, 0.0, held)
    assert turn.max_tokens == 512 - TOKENS - len(turn.prompt_ids)
    engine.close(0)
