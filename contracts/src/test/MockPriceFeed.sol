// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPriceFeed} from "../Interfaces.sol";

/// @title A price that anyone may set: for tests and demonstrations.
contract MockPriceFeed is IPriceFeed {
    uint192 private _price;
    uint64 private _updatedAt;

    error NoPrice();

    /// @param price of one whole token, 8 decimals; zero means that there is none.
    constructor(uint192 price) {
        _price = price;
        _updatedAt = uint64(block.timestamp);
    }

    /// @param price zero makes the feed fail until the next price.
    function setPrice(uint192 price) external {
        _price = price;
        _updatedAt = uint64(block.timestamp);
    }

    function latestPrice() external view returns (uint256 price, uint256 updatedAt) {
        if (_price == 0) revert NoPrice();
        return (_price, _updatedAt);
    }
}
