-- When overage was booked. A bucket goes into debt when a job is settled, not when it was accepted, so a tenant that is
-- loaded needs the entries with overage by the time at which they were recorded. They are few.
CREATE INDEX ledger_overage ON ledger (tenant_id, recorded_at) WHERE overage_tokens > 0 OR overage_nano_usd > 0;
