//! Files of the Hugging Face hub, in its standard cache.
