//! Ids, amounts, keys and the API's models. Pure: no I/O, compiles to wasm.
