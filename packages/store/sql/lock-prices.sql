-- Lets one program at a time change prices, until the end of the transaction; readers go on.
LOCK TABLE price_versions IN SHARE ROW EXCLUSIVE MODE;
