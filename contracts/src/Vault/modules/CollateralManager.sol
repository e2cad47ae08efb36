// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleKeys} from "../../ModuleKeys.sol";
import {RegistryClient} from "../../RegistryClient.sol";
import {ICollateralManager, IERC20, ILendingEngine, IRegistry} from "../../Interfaces.sol";
import {AmountTooLarge, InsufficientCollateral, TransferFailed, ZeroAmount} from "../../Errors.sol";

/// @title The ledger of collateral, and its custody.
/// @notice It pushes to the views through the lending engine, which reports what fails. A request that was carried out
/// already moves nothing: its position is pushed again, and the view ignores what it has.
contract CollateralManager is RegistryClient, ICollateralManager {
    mapping(address user => mapping(address asset => uint256)) private _collateral;
    mapping(address asset => uint256) private _totalCollateral;

    event Deposited(address indexed user, address indexed asset, uint256 amount, bytes32 requestId);
    event Withdrawn(address indexed user, address indexed asset, uint256 amount, bytes32 requestId);

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    /// @notice Takes `amount` of the caller's tokens (approved to this contract) as collateral.
    /// @param requestId the caller's request; zero has no idempotency.
    /// @param seq the caller's order of pushes for this asset; zero is not checked.
    /// @return executed false when the caller's request was carried out before.
    function deposit(address asset, uint256 amount, bytes32 requestId, uint64 seq) external returns (bool executed) {
        _checkAmount(amount);
        ILendingEngine engine = _engine();
        executed = engine.claimRequest(msg.sender, requestId);
        if (!executed) {
            engine.pushUserPosition(msg.sender, asset, requestId, seq, 0);
            return executed;
        }
        _collateral[msg.sender][asset] += amount;
        _totalCollateral[asset] += amount;
        if (!IERC20(asset).transferFrom(msg.sender, address(this), amount)) revert TransferFailed(asset);
        emit Deposited(msg.sender, asset, amount, requestId);
        engine.pushCollateralDelta(msg.sender, asset, int256(amount), requestId, seq);
    }

    /// @notice Gives collateral back, as long as what remains carries the caller's debt.
    function withdraw(address asset, uint256 amount, bytes32 requestId, uint64 seq) external returns (bool executed) {
        _checkAmount(amount);
        ILendingEngine engine = _engine();
        executed = engine.claimRequest(msg.sender, requestId);
        if (!executed) {
            engine.pushUserPosition(msg.sender, asset, requestId, seq, 0);
            return executed;
        }
        _take(msg.sender, asset, amount);
        engine.requireHealthy(msg.sender);
        if (!IERC20(asset).transfer(msg.sender, amount)) revert TransferFailed(asset);
        emit Withdrawn(msg.sender, asset, amount, requestId);
        engine.pushCollateralDelta(msg.sender, asset, -int256(amount), requestId, seq);
    }

    /// @notice Hands collateral to a liquidator. The liquidation pushes the position.
    function seize(address user, address asset, uint256 amount, address to)
        external
        onlyModule(ModuleKeys.LIQUIDATION_DEBT_MANAGER)
    {
        _take(user, asset, amount);
        if (!IERC20(asset).transfer(to, amount)) revert TransferFailed(asset);
    }

    function getCollateral(address user, address asset) external view returns (uint256) {
        return _collateral[user][asset];
    }

    function getTotalCollateral(address asset) external view returns (uint256) {
        return _totalCollateral[asset];
    }

    /// @dev An amount is pushed as a signed delta too.
    function _checkAmount(uint256 amount) private pure {
        if (amount == 0) revert ZeroAmount();
        if (amount > uint256(type(int256).max)) revert AmountTooLarge(amount);
    }

    function _take(address user, address asset, uint256 amount) private {
        uint256 held = _collateral[user][asset];
        if (amount > held) revert InsufficientCollateral(held, amount);
        _collateral[user][asset] = held - amount;
        _totalCollateral[asset] -= amount;
    }

    function _engine() private view returns (ILendingEngine) {
        return ILendingEngine(_requireModule(ModuleKeys.LENDING_ENGINE));
    }
}
