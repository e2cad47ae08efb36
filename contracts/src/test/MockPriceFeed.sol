// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPriceFeed} from "../Interfaces.sol";

/// @title A price that anyone may set: for tests and demonstrations.
contract MockPriceFeed is IPriceFeed {
    uint192 private _price;
    uint64 private _updatedAt;

    error NoPrice();
    error PriceTooLarge(uint256 price);

    /// @param price of one whole token, 8 decimals; zero means that there is none.
    constructor(uint256 price) {
        _set(price);
    }

    /// @param price zero makes the feed fail until the next price.
    function setPrice(uint256 price) external {
        _set(price);
    }

    function latestPrice() external view returns (uint256 price, uint256 updatedAt) {
        if (_price == 0) revert NoPrice();
        return (_price, _updatedAt);
    }

    function _set(uint256 price) private {
        if (price > type(uint192).max) revert PriceTooLarge(price);
        _price = uint192(price);
        _updatedAt = uint64(block.timestamp);
    }
}
