"""Three sizes x two methods with a plain Trainer, each logged by one line: `python docs/tracking_example.py runs`.

The data are the text of one of torch's modules, read as bytes. See docs/tracking.md.
"""

import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

from astraios.track.transformers import AstraiosCallback

OUT = sys.argv[1] if len(sys.argv) > 1 else "runs"
STEPS = int(sys.argv[2]) if len(sys.argv) > 2 else 200


def blocks(length: int = 64) -> list[dict[str, torch.Tensor]]:
    """Blocks of bytes of one of torch's own modules."""
    text = Path(torch.__file__).with_name("_torch_docs.py").read_bytes()
    ids = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    rows = ids[: len(ids) // length * length].view(-1, length)
    return [{"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row)} for row in rows]


def model(width: int, method: str) -> torch.nn.Module:
    """A small Llama with random weights, tuned whole or by LoRA on every matrix."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", vocab_size=256, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, bos_token_id=0, eos_token_id=0,
        name_or_path=f"bytes-llama-{width}",
    )  # fmt: skip
    base = AutoModelForCausalLM.from_config(config)
    if method == "fft":
        return base
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", modules_to_save=["embed_tokens", "lm_head"])
    return get_peft_model(base, adapter)


def main() -> None:
    rows = blocks()
    test, train = rows[::64], [row for i, row in enumerate(rows) if i % 64]
    for width in (16, 32, 64):
        for method in ("fft", "lora"):
            arguments = TrainingArguments(
                output_dir=f"{OUT}-models/{width}-{method}", max_steps=STEPS, per_device_train_batch_size=16,
                learning_rate=2e-3, eval_strategy="steps", eval_steps=max(1, STEPS // 10), logging_steps=5, seed=0,
                save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
            )  # fmt: skip
            Trainer(
                model(width, method), arguments, train_dataset=train, eval_dataset=test,
                callbacks=[AstraiosCallback(out=OUT, ladder="bytes-llama", dataset="torch-sources@1")],
            ).train()  # fmt: skip


if __name__ == "__main__":
    main()
