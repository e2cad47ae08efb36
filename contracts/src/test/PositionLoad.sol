// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PositionView} from "../Vault/view/modules/PositionView.sol";
import {IRegistry} from "../Interfaces.sol";

/// @title A position view that can fill itself: many events in few transactions, for measurements.
contract PositionLoad is PositionView {
    address public constant SYNTHETIC_ASSET = address(uint160(uint256(keccak256("plimsoll.synthetic.asset"))));

    constructor(IRegistry registry_) PositionView(registry_) {}

    /// @notice Writes the positions of the users `startIndex` to `startIndex + count - 1`, one `UserPositionCachedV2` each
    /// (without the legacy event). A user that was written before gets its next version.
    function pushSyntheticBatch(uint256 startIndex, uint256 count) external onlyAdmin {
        for (uint256 i = startIndex; i < startIndex + count; ++i) {
            address user = syntheticUser(i);
            Position storage position = _positions[user][SYNTHETIC_ASSET];
            uint64 version = position.version + 1;
            (uint256 collateral, uint256 debt) = syntheticAmounts(i, version);
            position.collateral = collateral;
            position.debt = debt;
            position.version = version;
            position.updatedAt = uint64(block.timestamp);
            emit UserPositionCachedV2(user, SYNTHETIC_ASSET, collateral, debt, version, block.timestamp);
        }
    }

    function syntheticUser(uint256 index) public pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("plimsoll.synthetic.user", index)))));
    }

    /// @notice Amounts of 18 decimals that differ from user to user and from version to version.
    function syntheticAmounts(uint256 index, uint64 version) public pure returns (uint256 collateral, uint256 debt) {
        collateral = (index % 1_000_000 + 1) * 1e18 + version;
        debt = collateral / 2;
    }
}
