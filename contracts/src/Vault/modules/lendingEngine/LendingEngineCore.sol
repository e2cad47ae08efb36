// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GasReserve} from "../../../GasReserve.sol";
import {ModuleKeys} from "../../../ModuleKeys.sol";
import {RegistryClient} from "../../../RegistryClient.sol";
import {HealthMath} from "../../HealthMath.sol";
import {ViewPusher} from "../ViewPusher.sol";
import {
    ICollateralManager,
    IERC20,
    IHealthView,
    ILendingEngine,
    IPriceFeed,
    IRegistry
} from "../../../Interfaces.sol";
import {
    AssetAlreadyListed,
    AssetNotListed,
    InsufficientDebt,
    ModuleHasNoCode,
    ModuleMissing,
    NotModule,
    PriceUnavailable,
    TooManyAssets,
    TooManyDecimals,
    TransferFailed,
    Unhealthy,
    ZeroAmount
} from "../../../Errors.sol";

/// @title The ledger of debt, the assets that it knows, and the engine's own liquidity.
/// @notice Values are in the feeds' unit with 8 decimals. There is no interest.
contract LendingEngineCore is ViewPusher, ILendingEngine {
    /// @dev A user's totals are a loop over all assets: the limit keeps it inside `TOTALS_GAS`.
    uint256 public constant MAX_ASSETS = 8;
    /// @dev 10^28 is the last power of ten that fits `Asset.unit`.
    uint8 private constant MAX_DECIMALS = 28;

    struct Asset {
        IPriceFeed feed;
        /// @dev One whole token; with the feed in one slot, since totals read it for every asset.
        uint96 unit;
    }

    address[] private _assetList;
    mapping(address asset => Asset) private _assets;
    mapping(address user => mapping(address asset => uint256)) private _debt;
    mapping(address asset => uint256) private _totalDebt;
    mapping(address actor => mapping(bytes32 requestId => bool)) private _claimed;

    event Borrowed(address indexed user, address indexed asset, uint256 amount, bytes32 requestId);
    event Repaid(address indexed user, address indexed asset, uint256 amount, bytes32 requestId);
    event RewardPaid(address indexed user, address indexed asset, uint256 amount, bytes32 requestId);
    event HealthPushFailed(
        address indexed user, address indexed healthView, uint256 totalCollateral, uint256 totalDebt, bytes reason
    );

    modifier listed(address asset) {
        if (_assets[asset].unit == 0) revert AssetNotListed(asset);
        _;
    }

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    function listAsset(address asset, IPriceFeed feed) external onlyAdmin {
        if (_assets[asset].unit != 0) revert AssetAlreadyListed(asset);
        if (_assetList.length == MAX_ASSETS) revert TooManyAssets(MAX_ASSETS);
        if (address(feed).code.length == 0) revert ModuleHasNoCode(address(feed));
        uint8 decimals = IERC20(asset).decimals();
        if (decimals > MAX_DECIMALS) revert TooManyDecimals(decimals, MAX_DECIMALS);
        _assets[asset] = Asset(feed, uint96(10 ** decimals));
        _assetList.push(asset);
    }

    /// @notice Lends the caller `amount` out of this contract's balance, as long as the caller's collateral carries it.
    /// @return executed false when the caller's request was carried out before: then the position is only pushed again.
    function borrow(address asset, uint256 amount, bytes32 requestId, uint64 seq)
        external
        listed(asset)
        returns (bool executed)
    {
        if (amount == 0) revert ZeroAmount();
        executed = _claim(msg.sender, requestId);
        if (executed) {
            _debt[msg.sender][asset] += amount;
            _totalDebt[asset] += amount;
            requireHealthy(msg.sender);
            if (!IERC20(asset).transfer(msg.sender, amount)) revert TransferFailed(asset);
            emit Borrowed(msg.sender, asset, amount, requestId);
        }
        _pushAbsolute(msg.sender, asset, requestId, seq, 0);
    }

    /// @notice Takes `amount` of the caller's tokens (approved to this contract) off the caller's debt.
    function repay(address asset, uint256 amount, bytes32 requestId, uint64 seq)
        external
        listed(asset)
        returns (bool executed)
    {
        if (amount == 0) revert ZeroAmount();
        executed = _claim(msg.sender, requestId);
        if (executed) {
            _writeDown(msg.sender, asset, amount, msg.sender);
            emit Repaid(msg.sender, asset, amount, requestId);
        }
        _pushAbsolute(msg.sender, asset, requestId, seq, 0);
    }

    /// @notice Pays a user a reward out of this contract's balance.
    /// @return executed false when the admin's request was carried out before.
    function payReward(address user, address asset, uint256 amount, bytes32 requestId)
        external
        onlyAdmin
        listed(asset)
        returns (bool executed)
    {
        if (amount == 0) revert ZeroAmount();
        executed = _claim(msg.sender, requestId);
        if (!executed) return executed;
        if (!IERC20(asset).transfer(user, amount)) revert TransferFailed(asset);
        emit RewardPaid(user, asset, amount, requestId);
    }

    /// @notice A liquidator pays a user's debt. The liquidation pushes the position.
    function writeDown(address user, address asset, uint256 amount, address payer)
        external
        onlyModule(ModuleKeys.LIQUIDATION_DEBT_MANAGER)
    {
        _writeDown(user, asset, amount, payer);
    }

    /// @notice Marks an actor's request as carried out. One request is one operation, whichever module carries it out.
    /// @return fresh false when it was before; a zero request is always fresh.
    function claimRequest(address actor, bytes32 requestId) external returns (bool fresh) {
        if (
            msg.sender != registry.getModule(ModuleKeys.COLLATERAL_MANAGER)
                && msg.sender != registry.getModule(ModuleKeys.LIQUIDATION_DEBT_MANAGER)
        ) revert NotModule(msg.sender);
        return _claim(actor, requestId);
    }

    /// @notice Pushes what the ledger says again, with a request, seq and version of the caller's choice: for operators
    /// who replay a push, and for the collateral manager when a request comes twice.
    function pushUserPosition(address user, address asset, bytes32 requestId, uint64 seq, uint64 nextVersion)
        external
        onlyModuleOrAdmin(ModuleKeys.COLLATERAL_MANAGER)
        listed(asset)
    {
        _pushAbsolute(user, asset, requestId, seq, nextVersion);
    }

    /// @notice Pushes a change of collateral that the ledger holds already.
    function pushCollateralDelta(address user, address asset, int256 delta, bytes32 requestId, uint64 seq)
        external
        onlyModule(ModuleKeys.COLLATERAL_MANAGER)
        listed(asset)
    {
        _push(
            PositionPush({
                user: user,
                asset: asset,
                relative: true,
                collateralDelta: delta,
                requestId: requestId,
                seq: seq,
                nextVersion: 0
            })
        );
    }

    function pushUserHealth(address user) external onlyModuleOrAdmin(ModuleKeys.LIQUIDATION_DEBT_MANAGER) {
        GasReserve.demand(HEALTH_GAS);
        _pushHealth(user);
    }

    function getDebt(address user, address asset) external view returns (uint256) {
        return _debt[user][asset];
    }

    function getTotalDebt(address asset) external view returns (uint256) {
        return _totalDebt[asset];
    }

    function getAssets() external view returns (address[] memory) {
        return _assetList;
    }

    /// @notice What a user's collateral and debt are worth. Reverts with `PriceUnavailable` when an asset that counts has none.
    function getUserTotals(address user) public view returns (uint256 totalCollateral, uint256 totalDebt) {
        ICollateralManager collateral = _collateralManager();
        for (uint256 i = 0; i < _assetList.length; ++i) {
            address asset = _assetList[i];
            uint256 held = collateral.getCollateral(user, asset);
            uint256 owed = _debt[user][asset];
            if (held == 0 && owed == 0) continue;
            uint256 price = getAssetPrice(asset);
            totalCollateral += held * price / _assets[asset].unit;
            totalDebt += owed * price / _assets[asset].unit;
        }
    }

    function requireHealthy(address user) public view {
        if (!_hasDebt(user)) return; // without debt nothing needs a price
        (uint256 totalCollateral, uint256 totalDebt) = getUserTotals(user);
        uint256 factor = HealthMath.healthFactor(totalCollateral, totalDebt);
        if (factor < HealthMath.ONE) revert Unhealthy(factor);
    }

    function getAssetPrice(address asset) public view listed(asset) returns (uint256) {
        try _assets[asset].feed.latestPrice() returns (uint256 price, uint256) {
            if (price == 0) revert PriceUnavailable(asset);
            return price;
        } catch {
            revert PriceUnavailable(asset);
        }
    }

    function valueOf(address asset, uint256 amount) external view returns (uint256) {
        return amount * getAssetPrice(asset) / _assets[asset].unit;
    }

    function amountOf(address asset, uint256 value) external view returns (uint256) {
        return value * _assets[asset].unit / getAssetPrice(asset);
    }

    function _claim(address actor, bytes32 requestId) private returns (bool fresh) {
        if (requestId == bytes32(0)) return true;
        fresh = !_claimed[actor][requestId];
        if (fresh) _claimed[actor][requestId] = true;
    }

    function _writeDown(address user, address asset, uint256 amount, address payer) private {
        uint256 owed = _debt[user][asset];
        if (amount > owed) revert InsufficientDebt(owed, amount);
        _debt[user][asset] = owed - amount;
        _totalDebt[asset] -= amount;
        if (!IERC20(asset).transferFrom(payer, address(this), amount)) revert TransferFailed(asset);
    }

    function _pushAbsolute(address user, address asset, bytes32 requestId, uint64 seq, uint64 nextVersion) private {
        _push(
            PositionPush({
                user: user,
                asset: asset,
                relative: false,
                collateralDelta: 0,
                requestId: requestId,
                seq: seq,
                nextVersion: nextVersion
            })
        );
    }

    function _push(PositionPush memory push) private {
        GasReserve.demand(POSITION_GAS + HEALTH_GAS);
        _pushPosition(push);
        _pushHealth(push.user);
    }

    function _pushHealth(address user) private {
        address view_ = registry.getModule(ModuleKeys.HEALTH_VIEW);
        try this.getUserTotals{gas: TOTALS_GAS}(user) returns (uint256 totalCollateral, uint256 totalDebt) {
            (bool ok, bytes memory reason) = _callHealthView(view_, user, totalCollateral, totalDebt);
            if (!ok) emit HealthPushFailed(user, view_, totalCollateral, totalDebt, reason);
        } catch (bytes memory reason) {
            emit HealthPushFailed(user, view_, 0, 0, reason);
        }
    }

    function _callHealthView(address view_, address user, uint256 totalCollateral, uint256 totalDebt)
        private
        returns (bool ok, bytes memory reason)
    {
        if (view_ == address(0)) {
            return (false, abi.encodeWithSelector(ModuleMissing.selector, ModuleKeys.HEALTH_VIEW));
        }
        if (view_.code.length == 0) return (false, abi.encodeWithSelector(ModuleHasNoCode.selector, view_));
        return view_.call{gas: HEALTH_VIEW_GAS}(
            abi.encodeCall(IHealthView.pushUserHealth, (user, totalCollateral, totalDebt))
        );
    }

    function _hasDebt(address user) private view returns (bool) {
        for (uint256 i = 0; i < _assetList.length; ++i) {
            if (_debt[user][_assetList[i]] != 0) return true;
        }
        return false;
    }

    function _collateralManager() private view returns (ICollateralManager) {
        return ICollateralManager(_requireModule(ModuleKeys.COLLATERAL_MANAGER));
    }
}
