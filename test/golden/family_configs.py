"""The tiny configs of the families beside llama, with the keys that real files carry."""

BASE = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "intermediate_size": 56,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-5,
    "vocab_size": 131,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
}

MINISTRAL3 = {key: BASE[key] for key in BASE if key != "rope_theta"} | {
    "model_type": "ministral3",
    "hidden_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "tie_word_embeddings": False,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    "sliding_window": 11,
    "rope_parameters": {
        "type": "yarn",
        "rope_theta": 1000.0,
        "factor": 4.0,
        "beta_fast": 8.0,
        "beta_slow": 1.0,
        "mscale": 1.4,
        "mscale_all_dim": 0.6,
        "original_max_position_embeddings": 20,
        "llama_4_scaling_beta": 0.4,
    },
}

QWEN2 = BASE | {
    "model_type": "qwen2",
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "hidden_size": 48,
    "rope_theta": 1000000.0,
    "use_sliding_window": True,
    "sliding_window": 8,
    "max_window_layers": 1,
    "tie_word_embeddings": False,
}

QWEN3 = BASE | {
    "model_type": "qwen3",
    "head_dim": 24,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "rms_norm_eps": 2e-3,
    "sliding_window": 8,
    "attention_bias": False,
    "tie_word_embeddings": False,
}

GEMMA2 = BASE | {
    "model_type": "gemma2",
    "head_dim": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "attn_logit_softcapping": 2.5,
    "final_logit_softcapping": 5.0,
    "query_pre_attn_scalar": 7,
    "sliding_window": 8,
}

GEMMA3 = BASE | {
    "model_type": "gemma3_text",
    "num_hidden_layers": 3,
    "hidden_size": 40,
    "intermediate_size": 56,
    "head_dim": 16,
    "num_attention_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    "query_pre_attn_scalar": 10,
    "sliding_window": 8,
    "sliding_window_pattern": 2,
    "layer_types": ["full_attention", "full_attention", "full_attention"],
}

PHI3 = BASE | {
    "model_type": "phi3",
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "sliding_window": 8,
    "original_max_position_embeddings": 512,
    "rope_scaling": None,
}

SMOLLM3 = BASE | {
    "model_type": "smollm3",
    "num_hidden_layers": 3,
    "intermediate_size": 64,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "hidden_size": 40,
    "rope_theta": 2000.0,
    "no_rope_layers": [1, 0, 1],
    "tie_word_embeddings": True,
}

GRANITE = BASE | {
    "model_type": "granite",
    "logits_scaling": 1.7,
    "attention_multiplier": 0.4,
    "embedding_multiplier": 0.4,
    "residual_multiplier": 0.6,
    "attention_bias": True,
    "mlp_bias": False,
    "tie_word_embeddings": True,
}

GLM4 = BASE | {
    "model_type": "glm4",
    "head_dim": 24,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "attention_bias": True,
    "partial_rotary_factor": 0.5,
}

COHERE2 = {key: BASE[key] for key in BASE if key != "rms_norm_eps"} | {
    "model_type": "cohere2",
    "num_hidden_layers": 3,
    "head_dim": 16,
    "layer_norm_eps": 1e-5,
    "logit_scale": 1.6,
    "sliding_window": 8,
    "sliding_window_pattern": 2,
    "attention_bias": False,
    "rope_theta": 50000.0,
}

OLMO2 = BASE | {
    "model_type": "olmo2",
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 24,
    "rope_theta": 500.0,
    "attention_bias": False,
    "tie_word_embeddings": False,
}
