//! Models that are read, changed and written: what was not changed is there byte for byte.

mod external;
mod real;
mod round_trip;
