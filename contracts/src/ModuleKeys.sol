// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The names under which modules find each other in the Registry: keccak256 of the text.
library ModuleKeys {
    bytes32 internal constant COLLATERAL_MANAGER = keccak256("COLLATERAL_MANAGER");
    bytes32 internal constant LENDING_ENGINE = keccak256("LENDING_ENGINE");
    bytes32 internal constant LIQUIDATION_DEBT_MANAGER = keccak256("LIQUIDATION_DEBT_MANAGER");
    bytes32 internal constant VAULT_ROUTER = keccak256("VAULT_ROUTER");
    bytes32 internal constant POSITION_VIEW = keccak256("POSITION_VIEW");
    bytes32 internal constant HEALTH_VIEW = keccak256("HEALTH_VIEW");
    bytes32 internal constant STATISTICS_VIEW = keccak256("STATISTICS_VIEW");
    bytes32 internal constant VIEW_CACHE = keccak256("VIEW_CACHE");
    bytes32 internal constant ACCESS_CONTROL_VIEW = keccak256("ACCESS_CONTROL_VIEW");
    bytes32 internal constant FEE_ROUTER_VIEW = keccak256("FEE_ROUTER_VIEW");
    bytes32 internal constant MODULE_HEALTH_VIEW = keccak256("MODULE_HEALTH_VIEW");
    bytes32 internal constant EVENT_HISTORY_MANAGER = keccak256("EVENT_HISTORY_MANAGER");
}
