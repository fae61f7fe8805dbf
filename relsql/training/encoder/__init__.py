"""The row encoder: its tokenizer, its training by denoising, or a pre-trained one."""
