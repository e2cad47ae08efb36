// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// The reasons a module gives for refusing. They travel as raw revert bytes inside CacheUpdateFailed and HealthPushFailed,
// so their selectors are part of what off-chain consumers decode: do not rename.

// Access and wiring.
error NotOwner(address caller);
error NotAdmin(address caller);
error NotModule(address caller);
error ZeroAddress();
error ModuleMissing(bytes32 key);
error ModuleHasNoCode(address module);
error ModuleCacheExpired();
error Paused();

// What a view refuses (spec 1 §2).
error StaleVersion(uint64 current, uint64 next);
error OutOfOrderSeq(uint64 last, uint64 given);
error InvalidDelta();

// What the business refuses.
error ZeroAmount();
error AmountTooLarge(uint256 given);
error InsufficientCollateral(uint256 held, uint256 asked);
error InsufficientDebt(uint256 owed, uint256 asked);
error Unhealthy(uint256 healthFactor);
error Healthy(uint256 healthFactor);
error AssetNotListed(address asset);
error AssetAlreadyListed(address asset);
error TooManyAssets(uint256 limit);
error TooManyDecimals(uint8 given, uint8 limit);
error PriceUnavailable(address asset);
error TransferFailed(address asset);
error InsufficientGasForPush(uint256 left, uint256 needed);
