import pytest

from synjax.models.encoders.clip import ClipText, ClipVision
from synjax.models.encoders.deberta import Deberta
from synjax.models.encoders.distilbert import DistilBert
from synjax.models.encoders.resnet import ResNet18, ResNet50
from synjax.models.pretrained import architectures

DEBERTA_V3 = {
  "model_type": "deberta-v2",
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "relative_attention": True,
  "position_buckets": 256,
  "norm_rel_ebd": "layer_norm",
  "share_att_key": True,
  "pos_att_type": "p2c|c2p",
  "position_biased_input": False,
}


@pytest.mark.parametrize(
  ("config", "expected"),
  [
    ({"model_type": "clip_vision_model"}, ClipVision()),
    ({"model_type": "clip_text_model"}, ClipText()),
    ({"model_type": "clip_text_model", "eos_token_id": 2}, ClipText(end_token=None)),
    ({"model_type": "distilbert", "vocab_size": 119547}, DistilBert()),
    (DEBERTA_V3, Deberta()),
    (
      {"architecture": "vit_base_patch16_clip_224.openai"},
      ClipVision(patch_size=16, activation="gelu", projection=768),
    ),
    (
      {"architecture": "vit_base_patch16_clip_quickgelu_224.openai", "num_classes": 512},
      ClipVision(patch_size=16),
    ),
    ({"architecture": "resnet18.a1_in1k"}, ResNet18(output="tokens")),
    ({"architecture": "resnet50"}, ResNet50(output="tokens")),
  ],
)
def test_a_config_of_the_published_towers_gives_their_sizes(config, expected):
  assert architectures.read(config, (), "config.json").module == expected


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ({"model_type": "bert"}, "expected a model_type of .* found 'bert'"),
    ({}, "found None"),
    ({"architecture": "vit_large_patch14_clip_224"}, "architecture of .* found 'vit_large"),
    ({"model_type": "deberta-v2"}, "expected relative_attention"),
    (DEBERTA_V3 | {"conv_kernel_size": 3}, "without convolution"),
  ],
)
def test_others_are_refused_by_name(config, message):
  with pytest.raises(ValueError, match=f"config.json: .*{message}|config.json: {message}") as error:
    architectures.read(config, (), "config.json")
  assert "\n" not in str(error.value)


def test_heads_and_buffers_are_left_out():
  names = ["net.deberta.embeddings.word_embeddings.weight", "net.head.weight", "position_ids"]
  found = architectures.read(DEBERTA_V3, names, "config.json")
  assert found.left_out == {"net.head.weight", "position_ids"}
  assert found.entries["params", "relative"].names == ("net.deberta.encoder.rel_embeddings.weight",)
