//! What holds of every translation.
