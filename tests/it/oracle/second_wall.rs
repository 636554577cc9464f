//! Second wall.
