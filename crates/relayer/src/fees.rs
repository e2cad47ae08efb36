//! What is offered for a unit of gas, and when more is.
