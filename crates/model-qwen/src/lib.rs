//! Qwen2, Qwen2.5, Qwen3 and Llama 3 checkpoints: one forward pass, with a hook.
