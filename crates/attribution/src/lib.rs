//! Which edges matter: EAP, EAP-IG and exact patching.
